//! A state that is put back to what it was.

use std::fmt::Write as _;

use test_ca::Ca;

use crate::desk::{Desk, free_port, orders};
use crate::files::copy;
use crate::served;
use crate::server::Server;
use crate::time::{can_be_later, later};

/// A certificate that is issued, served, renewed and served anew; the state of before lies by.
struct Past {
    desk: Desk,
    ca: Ca,
    server: Server,
    new: Vec<u8>,
}

impl Past {
    async fn new() -> Self {
        let desk = Desk::new();
        let ca = desk.ca().start().await.unwrap();
        let (port, bell) = (free_port(), desk.path("bell"));
        desk.configure(&format!(
            "{}[service.web]\nreload = [\"touch\", \"{}\"]\nobserve = [\"127.0.0.1:{port}\"]\n\
             [certificate.\"a.example\"]\nservice = \"web\"\nobserve-timeout = \"2s\"\n",
            desk.around(&ca),
            bell.display()
        ));
        let server = Server::start(port, &desk.path("state/live/a.example"), &bell);
        desk.run(&["renew"]).ends(0);
        copy(&desk.path("state"), &desk.path("old"));
        let old = served::leaf(port, "a.example").unwrap();
        // Certificates of one second have no elder.
        let second = std::time::Instant::now();
        while second.elapsed() < std::time::Duration::from_millis(1_100) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        desk.run(&["renew", "--force"]).ends(0);
        let new = served::leaf(port, "a.example").unwrap();
        assert_ne!(old, new);
        Self { desk, ca, server, new }
    }

    /// The old state comes back, save for these parts of it, which stay as they are.
    fn restore(&self, keep: &[&str]) {
        let (desk, aside) = (&self.desk, self.desk.path("aside"));
        std::fs::rename(desk.path("state"), &aside).unwrap();
        copy(&desk.path("old"), &desk.path("state"));
        for part in keep {
            let there = desk.path(&format!("state/{part}"));
            std::fs::remove_dir_all(&there).unwrap();
            copy(&aside.join(part), &there);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f60_a_restored_state_never_brings_back_a_certificate_older_than_the_one_served() {
    if !can_be_later() {
        return;
    }
    for (row, keep, lost) in [
        ("all but what servers read", &["live"][..], &[][..]),
        ("all of it, notes included", &[], &[]),
        ("all of it, without this host's notes", &[], &["installed"]),
        ("all of it, without notes and what servers read", &[], &["installed", "live"]),
        ("records alone", &["generations", "live", "installed", "keys", "accounts"], &[]),
    ] {
        let past = Past::new().await;
        past.restore(keep);
        for part in lost {
            std::fs::remove_dir_all(past.desk.path(&format!("state/{part}"))).unwrap();
        }
        let mut said = String::new();
        for arguments in [&["renew"][..], &["deploy"], &["renew"], &["once"]] {
            // Hours after the restore, as it is in life: what was issued this minute is told at once.
            let told = later("+3h", &past.desk.command(arguments)).output().unwrap();
            let _ = write!(said, "{arguments:?} {}", String::from_utf8_lossy(&told.stdout));
            let seen = served::leaf(past.server.port, "a.example").unwrap();
            let older = {
                let of = |der: &[u8]| nolapse::codec::x509::leaf(der).unwrap().not_after;
                of(&seen) < of(&past.new)
            };
            assert!(!older, "{row}: an older certificate is served\n{said}");
        }
        assert!(orders(&past.ca) <= 3, "{row}: {} orders\n{said}", orders(&past.ca));
        // A renewal goes on from there, and never over what is shown.
        let shown = |desk: &Desk| std::fs::read_link(desk.path("state/live/a.example/.current")).ok();
        let before = shown(&past.desk);
        past.desk.run(&["renew", "--force"]).ends(0);
        assert_ne!(shown(&past.desk), before, "{row}: written over what servers read");
        let seen = served::leaf(past.server.port, "a.example").unwrap();
        assert_eq!(seen, served::leaf_of(&past.desk.path("state/live/a.example/cert.pem")), "{row}");
        past.desk.run(&["status"]).ends(0);
    }
}
