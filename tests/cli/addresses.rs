//! Certificates for addresses (RFC 8738), from the configuration to what is on disk.

use test_ca::ChallengeKind;

use crate::desk::{Desk, orders};

/// The names of the certificate on disk, as openssl writes them.
fn names_on_disk(desk: &Desk, lineage: &str) -> String {
    let told = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-ext", "subjectAltName", "-in"])
        .arg(desk.path(&format!("state/live/{lineage}/cert.pem")))
        .output()
        .unwrap();
    String::from_utf8_lossy(&told.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_both_families_are_proved_by_either_kind() {
    for kind in ["http-01", "tls-alpn-01"] {
        let desk = Desk::new();
        let offered = [ChallengeKind::Dns01, ChallengeKind::TlsAlpn01, ChallengeKind::Http01];
        let ca = desk.ca().tls_port(desk.port).challenges(&offered).start().await.unwrap();
        let solver = format!("listen = \"127.0.0.1:{0}\"\ncheck-port = {0}\n", desk.port);
        let typed = format!("type = \"{kind}\"\nlisten = \"[::]:{0}\"\ncheck-port = {0}\n", desk.port);
        let around = desk.around(&ca).replace(&solver, &typed);
        // Loopback is connected to as it is; the others lead to 127.0.0.1 at this CA.
        let names = "names = [\"127.0.0.1\", \"[::1]\", \"2001:DB8:0::7\", \"box.example\"]\n";
        desk.configure(&(around.clone() + "[certificate.box]\n" + names));
        desk.run(&["renew"]).ends(0).says("renewed until");
        assert_eq!(ca.issued()[0].names, ["127.0.0.1", "::1", "2001:db8::7", "box.example"], "{kind}");
        let shown = names_on_disk(&desk, "box");
        for part in [
            "IP Address:127.0.0.1",
            "IP Address:0:0:0:0:0:0:0:1",
            "IP Address:2001:DB8:0:0:0:0:0:7",
            "DNS:box",
        ] {
            assert!(shown.contains(part), "{kind}: {part} is missing: {shown}");
        }
        // The same address in another form is no change; another address is one.
        let same = names.replace("2001:DB8:0::7", "2001:db8::7");
        desk.configure(&(around.clone() + "[certificate.box]\n" + &same));
        desk.run(&["renew"]).ends(0);
        assert_eq!(orders(&ca), 1, "{kind}");
        let other = names.replace("2001:DB8:0::7", "2001:db8::8");
        desk.configure(&(around + "[certificate.box]\n" + &other));
        desk.run(&["renew"]).ends(0);
        assert_eq!(orders(&ca), 2, "{kind}");
        assert!(names_on_disk(&desk, "box").contains("2001:DB8:0:0:0:0:0:8"), "{kind}");
        desk.run(&["status"]).ends(0);
        desk.run(&["explain", "box"]).ends(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_refused_is_blamed_by_name() {
    let desk = Desk::new();
    let ca = desk.ca().reject_identifier("192.0.2.7").start().await.unwrap();
    let entry = "[certificate.box]\nnames = [\"127.0.0.1\", \"192.0.2.7\"]\n";
    desk.configure(&(desk.around(&ca) + entry));
    let told = desk.run(&["renew"]).ends(1);
    assert!((told.out + &told.err).contains("192.0.2.7"));
}

#[test]
fn an_address_that_no_solver_can_prove_is_refused_by_check() {
    let desk = Desk::new();
    desk.configure(
        "[issuer.letsencrypt]\naccept-terms = true\n\
         [solver.dns]\nprovider = \"exec\"\nrun = [\"/bin/true\"]\n\
         [certificate.\"192.0.2.7\"]\nsolver = \"dns\"\n",
    );
    let told = desk.run(&["check", "--offline"]).ends(5);
    let said = told.out + &told.err;
    for part in ["unprovable-name", "addresses are never proved by DNS", "ip-profile", "shortlived"] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
}
