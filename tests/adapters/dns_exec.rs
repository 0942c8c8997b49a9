//! dns-01 by programs: scripts as they exist for certbot, lego and dehydrated, with `nsupdate` in place
//! of a provider's tool.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use nolapse::core::failure::Class;
use nolapse::core::name::SolverId;
use nolapse::core::spec::{ExecStyle, SolverExec};
use nolapse::core::time::Span;
use nolapse::ports::Solver;
use nolapse::solve::dns::Lookup;
use nolapse::solve::dns01::Dns01Solver;
use nolapse::solve::dns01::exec::ExecProvider;
use nolapse::solve::propagation::Propagation;
use nolapse::sys::clock::Clock;

use crate::bind::NameServer;
use crate::dns::task;

fn script(dir: &Path, name: &str, body: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, format!("#!/bin/sh\nset -eu\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn solver(
    server: &NameServer,
    style: ExecStyle,
    run: &str,
    cleanup: Option<&str>,
    timeout: Span,
) -> Dns01Solver {
    let clock = Clock::wall();
    let lookup = Arc::new(Lookup::new(vec![server.address().parse().unwrap()], server.port, &clock));
    let spec = SolverExec {
        run: vec![run.to_owned()],
        cleanup: cleanup.map(|program| vec![program.to_owned()]),
        style,
        user: None,
        timeout,
    };
    let propagation = Propagation {
        lookup,
        authoritative: Vec::new(),
        resolvers: Vec::new(),
        most: Span::secs(20),
        clock: clock.clone(),
    };
    let provider = Arc::new(ExecProvider::new(spec, &clock));
    Dns01Solver::new(SolverId::parse("dns").unwrap(), provider, propagation, None, &clock)
}

#[tokio::test]
async fn scripts_of_other_clients_work_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::bind(&dir.path().join("bind")) else { return };
    let (port, key) = (server.port, server.key_path());
    let send = format!(
        "send() {{ printf 'server 127.0.0.1 {port}\\nupdate %s\\nsend\\n' \"$1\" | nsupdate -k {}; }}",
        key.display()
    );
    let certbot_auth = script(
        dir.path(),
        "authenticator.sh",
        &format!(
            "{send}\nsend \"add _acme-challenge.$CERTBOT_DOMAIN 60 TXT $CERTBOT_VALIDATION\"\necho record-$CERTBOT_DOMAIN"
        ),
    );
    let certbot_cleanup = script(
        dir.path(),
        "cleanup.sh",
        &format!(
            "{send}\n[ \"$CERTBOT_AUTH_OUTPUT\" = \"record-$CERTBOT_DOMAIN\" ]\n\
             send \"delete _acme-challenge.$CERTBOT_DOMAIN TXT $CERTBOT_VALIDATION\""
        ),
    );
    let lego = script(
        dir.path(),
        "lego.sh",
        &format!(
            "{send}\ncase $1 in present) send \"add $2 60 TXT $3\" ;; cleanup) send \"delete $2 TXT $3\" ;; esac"
        ),
    );
    let dehydrated = script(
        dir.path(),
        "hook.sh",
        &format!(
            "{send}\n\
             deploy_challenge() {{ send \"add _acme-challenge.$1 60 TXT $3\"; }}\n\
             clean_challenge() {{ send \"delete _acme-challenge.$1 TXT $3\"; }}\n\
             HANDLER=$1; shift; $HANDLER \"$@\""
        ),
    );
    let ours = script(
        dir.path(),
        "ours.sh",
        &format!(
            "{send}\nread -r json\ncase $json in *\"\\\"value\\\":\\\"$NOLAPSE_VALUE\\\"\"*) ;; *) exit 9 ;; esac\n\
             case $1 in present) send \"add $NOLAPSE_RECORD 60 TXT $NOLAPSE_VALUE\" ;; \
             cleanup) send \"delete $NOLAPSE_RECORD TXT $NOLAPSE_VALUE\" ;; esac"
        ),
    );
    for (style, run, cleanup) in [
        (ExecStyle::CertbotManual, &certbot_auth, Some(&certbot_cleanup)),
        (ExecStyle::Lego, &lego, None),
        (ExecStyle::Dehydrated, &dehydrated, None),
        (ExecStyle::Nolapse, &ours, None),
    ] {
        let solver = solver(&server, style, run, cleanup.map(String::as_str), Span::MINUTE);
        solver.able().await.unwrap();
        let (apex, star) = (task("a.example.test", "token-1"), task("*.a.example.test", "token-2"));
        let mut receipts = Vec::new();
        for task in [&apex, &star] {
            receipts.push(solver.receipt(task).await.unwrap());
            solver.present(task).await.unwrap();
        }
        for task in [&apex, &star] {
            solver.confirm(task).await.unwrap();
        }
        assert_eq!(server.texts("_acme-challenge.a.example.test").len(), 2, "{style:?}");
        for receipt in receipts {
            solver.clean_up(&receipt).await.unwrap();
        }
        assert!(server.texts("_acme-challenge.a.example.test").is_empty(), "{style:?}");
    }
}

#[tokio::test]
async fn a_script_that_fails_says_why_in_its_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let Some(server) = NameServer::bind(&dir.path().join("bind")) else { return };
    let angry = script(dir.path(), "angry", "echo no such zone at us; exit 3");
    let slow = script(dir.path(), "slow", "exec sleep 60");
    for (program, class, code, says) in [
        (angry.as_str(), Class::Transient, "dns-change-failed", "exit code 3: no such zone at us"),
        (&slow, Class::Transient, "dns-change-failed", "did not end within"),
        ("/nonexistent/program", Class::Refused, "dns-program", "needs a program"),
    ] {
        let solver = solver(&server, ExecStyle::Nolapse, program, None, Span::secs(1));
        let failure = solver.present(&task("a.example.test", "token-1")).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_str()), (class, code), "{failure}");
        assert!(failure.words.contains(says), "{failure}");
    }
}
