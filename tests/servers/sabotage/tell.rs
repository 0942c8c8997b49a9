//! How each lie begins, and how all is made well again.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::kind::Kind;
use super::super::lie::Lie;
use super::super::server::Server;
use super::super::shape::{Door, Files, Shape};
use super::{Earlier, NAME, PATIENCE, Rig};
use crate::support::ports::wait_for;
use crate::support::served;

impl Rig {
    pub(super) fn tell(&mut self, lie: Lie, earlier: &Earlier) {
        let (honest, copies) = (self.honest(), &earlier.copies);
        match lie {
            Lie::StrangersFiles => self.shape(&Shape { files: self.made.strangers.clone(), ..honest }),
            Lie::OtherVhost => self.shape(&Shape { default: Some(self.made.strangers.clone()), ..honest }),
            Lie::SelfSigned => self.shape(&Shape { files: self.made.self_signed.clone(), ..honest }),
            Lie::Copied => self.shape(&Shape { files: copies.clone(), ..honest }),
            Lie::OtherValid => self.shape(&Shape { files: self.made.other_valid.clone(), ..honest }),
            Lie::Expired => self.shape(&Shape { files: self.made.expired.clone(), ..honest }),
            Lie::NotYetValid => self.shape(&Shape { files: self.made.not_yet_valid.clone(), ..honest }),
            Lie::Pinned => self.shape(&Shape { files: earlier.pinned.clone(), ..honest }),
            Lie::HalfCopied => {
                let files = self.half_copied(copies);
                self.shape(&Shape { files, ..honest });
            }
            Lie::Missing => {
                let nowhere = self.site.path("nowhere.pem");
                let files = Files { chain: nowhere.clone(), key: nowhere.clone(), combined: nowhere };
                self.shape(&Shape { files, ..honest });
            }
            Lie::Rejects => self.shape(&Shape { rejects: true, ..honest }),
            Lie::Moved => self.move_away(),
            Lie::LateReload => {
                let lines: Vec<_> = self.backends.iter().map(Server::reload_line).collect();
                let late = self.late();
                let _ = std::fs::remove_file(&late);
                // Longer than the program looks.
                let seconds = self.pace.look.max(5) + 4;
                let script = format!("sleep {seconds}; {}; touch {}", lines.join("; "), late.display());
                self.reload_with(&format!("setsid sh -c '{script}' </dev/null >/dev/null 2>&1 &"));
            }
            Lie::Plain => self.shape(&Shape { plain: true, ..honest }),
            Lie::ExpectsProxy => self.shape(&Shape { proxy: true, ..honest }),
            Lie::SpoiltKey => {
                let files = self.spoilt();
                self.shape(&Shape { files, ..honest });
            }
            Lie::LeafOnly => {
                let files = self.leaf_only();
                self.shape(&Shape { files, ..honest });
            }
            Lie::Broken => self.shape(&Shape { broken: true, ..honest }),
            Lie::WantsClients => self.shape(&Shape { clients: Some(self.made.clients.clone()), ..honest }),
            Lie::DeafReload => self.reload_with("exit 0"),
            Lie::FailingReload => self.reload_with("echo no such service >&2; exit 1"),
            Lie::HangingReload => self.reload_with("sleep 600"),
            Lie::FrozenMain => self.backends.iter().for_each(Server::freeze_main),
            Lie::FrozenWorkers => self.backends.iter().for_each(Server::freeze_workers),
            Lie::Starved => self.backends.iter().for_each(Server::starve),
            Lie::Gone => self.backends.iter_mut().for_each(Server::stop),
            Lie::SecondInstance => {
                let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
                let mut second = Server::new(self.kind, self.site.path("second"), ip, self.port);
                let shape = Shape { files: copies.clone(), ..honest };
                second.shape(&[Door { port: self.port, name: None, shape: &shape }]);
                second.start();
                self.second = Some(second);
                // The port answered before; it is there once it is met.
                let old = served::leaf_of(&copies.chain);
                let met = wait_for(PATIENCE, || served::leaf(self.port, NAME).as_ref() == Some(&old));
                assert!(met, "the second instance is never met");
            }
            Lie::ForgottenBackend => self.reload_with(&self.backends[0].reload_line()),
            Lie::OldSessions => {
                let session = self.site.path("session");
                self.openssl(NAME, self.port, &["-sess_out", session.to_str().unwrap()]);
            }
        }
    }

    /// The pair as it is, with a key that is none.
    fn spoilt(&self) -> Files {
        let dir = self.site.path("spoilt");
        std::fs::create_dir_all(&dir).unwrap();
        let key = dir.join("privkey.pem");
        std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        let combined = dir.join("combined.pem");
        let chain = std::fs::read_to_string(self.live().chain).unwrap();
        std::fs::write(&combined, chain + &std::fs::read_to_string(&key).unwrap()).unwrap();
        Files { key, combined, ..self.live() }
    }

    /// The new chain beside the key of before.
    fn half_copied(&self, copies: &Files) -> Files {
        let combined = self.site.path("half.pem");
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        std::fs::write(&combined, text(&self.live().chain) + &text(&copies.key)).unwrap();
        Files { chain: self.live().chain, key: copies.key.clone(), combined }
    }

    /// Is there once a late reload was made.
    fn late(&self) -> PathBuf {
        self.site.path("late")
    }

    /// The pair without its intermediate; a link where a link will do, so that renewals show.
    fn leaf_only(&self) -> Files {
        let combined = self.site.path("leaf-only.pem");
        let script = format!(
            "cat {} {} > {}",
            self.site.live(NAME, "cert.pem").display(),
            self.live().key.display(),
            combined.display()
        );
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        if self.kind == Kind::Haproxy {
            // Its file holds the key too, so it is made anew by each reload.
            let reload = std::fs::read_to_string(self.site.path("reload")).unwrap();
            let rest = reload.split_once('\n').unwrap().1;
            self.reload_with(&format!("{script}\n{rest}"));
        }
        Files { chain: self.site.live(NAME, "cert.pem"), combined, ..self.live() }
    }

    /// Somebody else reloads the server, where the lie stands in its configuration.
    pub(super) fn kick(&self, lie: Lie) {
        let by_shape = !matches!(lie, Lie::FrozenWorkers | Lie::Gone | Lie::SecondInstance);
        if by_shape {
            self.backends.iter().for_each(Server::reload);
            // A reload takes its time; what it shows then differs from lie to lie.
            let before = std::fs::read(self.live().chain).unwrap();
            let leaf = served::leaf_in(&before);
            let (name, port) = self.doors().last().unwrap_or((NAME, self.port));
            wait_for(Duration::from_secs(3), || {
                (0..self.looks()).all(|_| self.shown(name, port).is_none_or(|shown| shown != leaf))
                    || lie == Lie::LeafOnly
                    || lie == Lie::WantsClients
            });
        }
    }

    /// All is as it should be again.
    pub(super) fn mend(&mut self, lie: Lie) {
        if lie == Lie::LateReload {
            // What comes late is not to meet the next lie.
            assert!(wait_for(PATIENCE, || self.late().exists()), "the late reload never came");
        }
        self.second = None;
        self.honest_shape();
        self.honest_reload();
        match lie {
            Lie::FrozenMain
            | Lie::FrozenWorkers
            | Lie::Starved
            | Lie::Gone
            | Lie::Broken
            | Lie::SpoiltKey
            | Lie::HalfCopied
            | Lie::Missing
            | Lie::Moved => {
                self.backends.iter_mut().for_each(Server::restart);
            }
            _ => self.backends.iter().for_each(Server::reload),
        }
        // Workers from before may take a connection for a moment longer.
        wait_for(PATIENCE, || self.truth());
    }
}
