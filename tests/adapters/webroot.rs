use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nolapse::core::failure::Class;
use nolapse::core::name::SolverId;
use nolapse::ports::Solver;
use nolapse::solve::self_check::SelfCheck;
use nolapse::solve::webroot::WebrootSolver;
use nolapse::sys::clock::Clock;

use crate::bench::{PATIENCE, free_port, nginx, rerun, task};

struct Site {
    dir: tempfile::TempDir,
    root: PathBuf,
    outside: PathBuf,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("www"), dir.path().join("outside"));
        for dir in [&root, &outside, &dir.path().join("state")] {
            std::fs::create_dir(dir).unwrap();
        }
        Self { dir, root, outside }
    }

    fn solver(&self) -> WebrootSolver {
        self.solver_for(&self.root, SelfCheck::default()).unwrap()
    }

    fn solver_for(
        &self,
        root: &Path,
        check: SelfCheck,
    ) -> Result<WebrootSolver, nolapse::core::failure::Failure> {
        let id = SolverId::parse("webroot").unwrap();
        WebrootSolver::new(id, root, &self.dir.path().join("state"), check, &Clock::wall())
    }

    fn challenges(&self) -> PathBuf {
        self.root.join(".well-known/acme-challenge")
    }
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

fn entries(path: &Path) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

#[tokio::test]
async fn nginx_serves_what_was_written() {
    let site = Site::new();
    let port = free_port();
    let servers = format!(
        "server {{ listen 127.0.0.1:{port}; server_name a.example; root {}; }}
         server {{ listen 127.0.0.1:{port}; server_name b.example; root {}; }}",
        site.root.display(),
        site.outside.display()
    );
    let Some(_nginx) = nginx(site.dir.path(), &servers, port) else { return };
    let solver = site.solver_for(&site.root, SelfCheck { http: port, https: free_port() }).unwrap();
    solver.able().await.unwrap();
    let task_a = task("a.example", "token-1");
    solver.present(&task_a).await.unwrap();
    solver.present(&task_a).await.unwrap();
    solver.confirm(&task_a).await.unwrap();
    let failure = solver.confirm(&task("b.example", "token-1")).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (Class::Transient, "self-check-failed"));
    assert!(failure.words.contains("nginx") && failure.words.contains("404"), "{failure}");
    let receipt = solver.receipt(&task_a).await.unwrap();
    assert_eq!(receipt.place, site.challenges().join("token-1").to_str().unwrap());
    solver.clean_up(&receipt).await.unwrap();
    solver.clean_up(&receipt).await.unwrap();
    assert_eq!(entries(&site.challenges()), 0);
}

#[test]
fn a_strict_umask_does_not_lock_the_web_server_out() {
    rerun("webroot::modes_under_a_umask", "umask 077;", Stdio::null());
}

/// Run by [`a_strict_umask_does_not_lock_the_web_server_out`].
#[tokio::test]
#[ignore = "needs a umask of its own"]
async fn modes_under_a_umask() {
    let site = Site::new();
    site.solver().present(&task("a.example", "token-1")).await.unwrap();
    assert_eq!(mode(&site.root.join(".well-known")), 0o755);
    assert_eq!(mode(&site.challenges()), 0o755);
    assert_eq!(mode(&site.challenges().join("token-1")), 0o644);
}

#[tokio::test]
async fn t02_planted_links_are_refused_by_name() {
    for planted in [".well-known", ".well-known/acme-challenge"] {
        let site = Site::new();
        let link = site.root.join(planted);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&site.outside, &link).unwrap();
        let solver = site.solver();
        let task = task("a.example", "token-1");
        for failure in [solver.present(&task).await, solver.able().await] {
            let failure = failure.unwrap_err();
            assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, "webroot-link"));
            assert!(failure.words.contains(link.to_str().unwrap()), "{failure}");
        }
        std::fs::write(site.outside.join("token-1"), "theirs").unwrap();
        assert!(solver.clean_up(&solver.receipt(&task).await.unwrap()).await.is_err());
        assert_eq!(std::fs::read_to_string(site.outside.join("token-1")).unwrap(), "theirs");
    }
}

#[tokio::test]
async fn t02_a_planted_token_is_replaced_and_never_written_through() {
    for (row, plant) in [
        ("a link to a file", (|to: &Path, at: &Path| symlink(to, at).unwrap()) as fn(&Path, &Path)),
        ("a link to nowhere", |to, at| symlink(to.with_file_name("new"), at).unwrap()),
        ("a second name of a file", |to, at| std::fs::hard_link(to, at).unwrap()),
        ("a file of somebody", |_, at| std::fs::write(at, "x").unwrap()),
    ] {
        let site = Site::new();
        let precious = site.outside.join("precious");
        std::fs::write(&precious, "precious").unwrap();
        std::fs::create_dir_all(site.challenges()).unwrap();
        let token = site.challenges().join("token-1");
        plant(&precious, &token);
        let (solver, task) = (site.solver(), task("a.example", "token-1"));
        solver.present(&task).await.unwrap();
        assert!(token.symlink_metadata().unwrap().is_file(), "{row}");
        assert_eq!(std::fs::read_to_string(&token).unwrap(), task.key_authorization, "{row}");
        solver.clean_up(&solver.receipt(&task).await.unwrap()).await.unwrap();
        assert!(!token.exists(), "{row}");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious", "{row}");
        assert_eq!(entries(&site.outside), 1, "{row}");
    }
}

#[tokio::test]
async fn a_directory_in_the_tokens_place_is_an_error_and_stays() {
    let site = Site::new();
    std::fs::create_dir_all(site.challenges().join("token-1/inside")).unwrap();
    let (solver, task) = (site.solver(), task("a.example", "token-1"));
    assert!(solver.present(&task).await.is_err());
    assert!(solver.clean_up(&solver.receipt(&task).await.unwrap()).await.is_err());
    assert!(site.challenges().join("token-1/inside").exists());
}

/// Somebody exchanges the directory and a link, as fast as they can.
#[tokio::test(flavor = "multi_thread")]
async fn t02_t20_a_race_never_leads_outside() {
    const EACH: usize = 500;
    let site = Site::new();
    std::fs::create_dir_all(site.challenges()).unwrap();
    let (well_known, link) = (site.root.join(".well-known"), site.root.join("link"));
    symlink(&site.outside, &link).unwrap();
    // Where a followed link would lead to: a place that looks just like ours.
    let trap = site.outside.join("acme-challenge");
    std::fs::create_dir(&trap).unwrap();
    std::fs::write(trap.join("token-1"), "theirs").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let exchanging = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(rustix::fs::CWD, &well_known, rustix::fs::CWD, &link, exchange)
                .unwrap();
        }
    });
    let (solver, task) = (site.solver(), task("a.example", "token-1"));
    let receipt = solver.receipt(&task).await.unwrap();
    let (mut written, mut refused) = (0, 0);
    let begun = Instant::now();
    while (written < EACH || refused < EACH) && begun.elapsed() < PATIENCE {
        match solver.present(&task).await {
            Ok(()) => written += 1,
            Err(_) => refused += 1,
        }
        let _ = solver.clean_up(&receipt).await;
        assert_eq!(entries(&trap), 1);
        assert_eq!(std::fs::read_to_string(trap.join("token-1")).unwrap(), "theirs");
    }
    stop.store(true, Ordering::Relaxed);
    exchanging.join().unwrap();
    assert!(written > 0 && refused > 0, "no race was run: {written} written, {refused} refused");
}

#[tokio::test]
async fn wrong_webroots_are_refused() {
    let site = Site::new();
    let state = site.dir.path().join("state");
    for (row, root, code) in [
        ("relative", PathBuf::from("www"), "webroot-relative"),
        ("the state directory", state.clone(), "webroot-overlaps"),
        ("inside the state directory", state.join("www"), "webroot-overlaps"),
        ("around the state directory", site.dir.path().to_owned(), "webroot-overlaps"),
    ] {
        let failure = site.solver_for(&root, SelfCheck::default()).err().unwrap();
        assert_eq!((failure.class, failure.code.as_str()), (Class::Refused, code), "{row}");
    }
    // What only shows when it is used.
    let link = site.dir.path().join("link");
    symlink(&state, &link).unwrap();
    let file = site.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (row, root, code) in [
        ("a link into the state directory", link, "webroot-overlaps"),
        ("not there", site.dir.path().join("nowhere"), "webroot-missing"),
        ("a file", file, "webroot-failed"),
    ] {
        let solver = site.solver_for(&root, SelfCheck::default()).unwrap();
        let failure = solver.present(&task("a.example", "token-1")).await.unwrap_err();
        assert_eq!(failure.code, code, "{row}: {failure}");
        assert_eq!(solver.able().await.unwrap_err().code, code, "{row}");
    }
    assert_eq!(entries(&state), 0);
}

#[tokio::test]
async fn a_webroot_that_is_not_ours_to_write_is_told() {
    const ME: &str = "webroot::a_webroot_that_is_not_ours_to_write_is_told";
    const WITHOUT: &str = "NOLAPSE_TEST_WITHOUT_OVERRIDE";
    // Root may write everywhere by one capability: this test again, without it.
    if rustix::process::geteuid().is_root() && std::env::var_os(WITHOUT).is_none() {
        let again = std::process::Command::new("setpriv")
            .arg("--bounding-set=-dac_override,-dac_read_search")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", ME])
            .env(WITHOUT, "1")
            .output();
        match again {
            Ok(ended) => {
                let said = String::from_utf8_lossy(&ended.stdout).into_owned();
                assert!(ended.status.success() && said.contains("1 passed"), "{said}");
            }
            Err(error) => println!("SKIPPED: root may write everywhere, and setpriv: {error}"),
        }
        return;
    }
    let site = Site::new();
    std::fs::set_permissions(&site.root, std::fs::Permissions::from_mode(0o555)).unwrap();
    for failure in [site.solver().present(&task("a.example", "token-1")).await, site.solver().able().await] {
        assert_eq!(failure.unwrap_err().code, "webroot-forbidden");
    }
}

#[tokio::test]
async fn an_answer_is_undone_where_it_was_set_up() {
    let site = Site::new();
    let task = task("a.example", "token-1");
    site.solver().present(&task).await.unwrap();
    let receipt = site.solver().receipt(&task).await.unwrap();
    let elsewhere = site.solver_for(&site.outside, SelfCheck::default()).unwrap();
    elsewhere.clean_up(&receipt).await.unwrap();
    assert_eq!(entries(&site.challenges()), 0);
    std::fs::remove_dir_all(&site.root).unwrap();
    elsewhere.clean_up(&receipt).await.unwrap();
    let mut damaged = receipt;
    damaged.place = "challenges/token-1".into();
    assert_eq!(elsewhere.clean_up(&damaged).await.unwrap_err().class, Class::Broken);
}
