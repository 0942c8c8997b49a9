//! `adopt` and `release` as they are typed: plans without secrets, what is left out and why, and a
//! configuration that a mistake never touches. Real tools are met in `tests/servers/adopt.rs`.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::desk::{Desk, exists, is_root, orders, self_signed};

/// A certificate for these names from a root of its own, and its key.
fn bought(names: &[&str]) -> (String, String, String) {
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name.push(rcgen::DnType::CommonName, "A Shop Root");
    let root_key = KeyPair::generate().unwrap();
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let now = time::OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - time::Duration::days(3), now + time::Duration::days(700));
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
    (leaf.pem(), root_pem, key.serialize_pem())
}

fn put_files(desk: &Desk, names: &[&str]) -> String {
    let (leaf, root, key) = bought(names);
    desk.write("ssl/shop.crt", &format!("{leaf}{root}"));
    desk.write("ssl/shop.key", &key);
    desk.show("ssl")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bought_certificate_is_ours_after_one_command_and_renewed_when_it_is_time() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&desk.around(&ca));
    let ssl = put_files(&desk, &["a.example", "www.a.example"]);
    let before = desk.read("ssl/shop.crt");
    let plan = desk.run(&["adopt", "--from", "files", &ssl]).ends(0).warns("--yes does it");
    let plan = plan.says("reads").says("ssl/shop.key").says("writes").says("by A Shop Root");
    assert!(
        !plan.out.contains("PRIVATE KEY")
            && !exists(&desk.path("state"))
            && !exists(&desk.path("etc/conf.d"))
    );
    let json = desk.run(&["adopt", "--from", "files", &ssl, "--json"]).ends(0).json();
    assert_eq!((json["done"].as_bool(), json["adopt"][0]["name"].as_str()), (Some(false), Some("a.example")));

    desk.run(&["adopt", "--from", "files", &ssl, "--yes"]).ends(0).says("kept until");
    assert_eq!((orders(&ca), desk.read("ssl/shop.crt")), (0, before.clone()));
    desk.run(&["adopt", "--from", "files", &ssl, "--yes"]).ends(0).says("already adopted, as a.example");
    desk.run(&["status"]).ends(0);
    desk.run(&["renew"]).ends(0);
    assert_eq!(orders(&ca), 0, "it is not due");
    desk.run(&["renew", "--force", "a.example"]).ends(0);
    assert_eq!(orders(&ca), 1);
    assert_ne!(desk.read("ssl/shop.crt"), before);
    assert_eq!(desk.read("ssl/shop.crt.before-nolapse"), before);
}

#[test]
fn what_serves_nobody_is_said_and_ordered_anew() {
    let desk = Desk::with("[issuer.letsencrypt]\naccept-terms = true\n");
    let (leaf, root, _) = bought(&["a.example"]);
    let (_, _, other_key) = bought(&["a.example"]);
    for (what, chain, key, words) in [
        ("no key", leaf.clone(), None, "no key that fits it"),
        ("another's key", format!("{leaf}{root}"), Some(other_key.clone()), "no key that fits it"),
    ] {
        let _ = fs::remove_dir_all(desk.path("ssl"));
        desk.write("ssl/shop.crt", &chain);
        if let Some(key) = key {
            desk.write("ssl/shop.key", &key);
        }
        let ran = desk.run(&["adopt", "--from", "files", &desk.show("ssl")]).ends(0);
        assert!(ran.out.contains(words) && ran.out.contains("a new one is ordered"), "{what}: {ran:?}");
    }
    let pair = rcgen::generate_simple_self_signed(["b.example".to_owned()]).unwrap();
    desk.write("own/shop.pem", &format!("{}{}", pair.cert.pem(), pair.signing_key.serialize_pem()));
    desk.run(&["adopt", "--from", "files", &desk.show("own")])
        .ends(0)
        .says("self-signed")
        .says("part = \"combined\"");
}

#[test]
fn what_is_not_there_or_not_known_is_a_clear_word() {
    let desk = Desk::with("");
    desk.write("empty/readme", "nothing");
    desk.write("lonely/ca.crt", &self_signed("a.example"));
    for (arguments, code, words) in [
        (&["adopt", "--from", "certbot", "EMPTY"][..], 5, "adopt-nothing-found"),
        (&["adopt", "--from", "lego", "MISSING"], 5, "adopt-unreadable"),
        (&["adopt", "--from", "files"], 5, "a path must be given"),
        (&["adopt", "--from", "files", "EMPTY"], 5, "adopt-nothing-found"),
        (&["adopt", "EMPTY"], 2, "whose directory is it?"),
        (&["adopt", "--from", "winacme", "EMPTY"], 2, "is none of certbot, lego"),
        (&["release", "a.example"], 2, "no certificate \"a.example\""),
    ] {
        let (empty, missing) = (desk.show("empty"), desk.show("missing"));
        let arguments: Vec<_> = arguments
            .iter()
            .map(|word| match *word {
                "EMPTY" => empty.as_str(),
                "MISSING" => missing.as_str(),
                word => word,
            })
            .collect();
        desk.run(&arguments).ends(code).warns(words);
    }
    assert!(!exists(&desk.path("etc/conf.d")) && !exists(&desk.path("state")));
}

/// A certbot tree around a bought pair; `params` are those of `[renewalparams]`.
fn put_certbot(desk: &Desk, params: &str) -> String {
    let (leaf, root, key) = bought(&["a.example"]);
    for (part, text) in
        [("cert", leaf.clone()), ("chain", root.clone()), ("fullchain", leaf + &root), ("privkey", key)]
    {
        desk.write(&format!("cb/archive/a.example/{part}3.pem"), &text);
        fs::create_dir_all(desk.path("cb/live/a.example")).unwrap();
        let link = desk.path(&format!("cb/live/a.example/{part}.pem"));
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(format!("../../archive/a.example/{part}3.pem"), link).unwrap();
    }
    desk.write("cb/renewal/a.example.conf", &format!("version = 2.1.0\n[renewalparams]\n{params}"));
    desk.show("cb")
}

#[test]
fn what_certbot_asked_for_is_translated_or_listed() {
    for (params, said) in [
        (
            "authenticator = webroot\nwebroot_path = /srv/www,\n",
            &["webroot = \"/srv/www\"", "[solver.webroot-srv-www]"][..],
        ),
        ("authenticator = standalone\n", &["solver = \"standalone\""]),
        ("authenticator = standalone\nhttp01_port = 8080\n", &["listen = \"[::]:8080\""]),
        ("authenticator = nginx\ninstaller = nginx\n", &["service = \"nginx\"", "shipped snippet"]),
        ("authenticator = webroot\nwebroot_path = /w,\ninstaller = apache\n", &["service = \"apache2\""]),
        (
            "authenticator = standalone\npre_hook = systemctl stop nginx\npost_hook = systemctl start nginx\n",
            &["pre-hooks = [\"pre-a-example\"]", "\"systemctl start nginx\""],
        ),
        (
            "authenticator = standalone\nmust_staple = True\nreuse_key = True\n",
            &["left out  must_staple", "reuse-key = true"],
        ),
        (
            "authenticator = standalone\nserver = https://ca.example/dir\n",
            &["[issuer.ca-example]", "accept-terms"],
        ),
    ] {
        let desk = Desk::with("[issuer.letsencrypt]\naccept-terms = true\n");
        let root = put_certbot(&desk, params);
        let ran = desk.run(&["adopt", "--from", "certbot", &root]).ends(0);
        for words in said {
            assert!(ran.out.contains(words), "{params}: {words}\n{}{}", ran.out, ran.err);
        }
        assert!(
            ran.out.contains("certbot-tree") && ran.out.contains("goes on renewing it until"),
            "{}",
            ran.out
        );
    }
    for (params, words) in [
        ("authenticator = dns-cloudflare\n", "dns-01 (dns-cloudflare)"),
        ("authenticator = manual\n", "by scripts"),
        (
            "authenticator = webroot\n[[webroot_map]]\na.example = /a\nwww.a.example = /b\n",
            "several directories",
        ),
    ] {
        let desk = Desk::with("");
        let root = put_certbot(&desk, params);
        desk.run(&["adopt", "--from", "certbot", &root, "--yes"])
            .ends(1)
            .warns(words)
            .warns("adopt-challenge");
        assert!(!exists(&desk.path("etc/conf.d")) && !exists(&desk.path("state")));
        let chosen = ["adopt", "--from", "certbot", &root, "--webroot", "/srv/www"];
        desk.run(&chosen).ends(0).says("webroot = \"/srv/www\"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_of_certbots_shows_the_same_before_and_after_and_goes_back() {
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&desk.around(&ca));
    let root = put_certbot(&desk, &format!("authenticator = standalone\nserver = {}\n", ca.directory_url()));
    let chain = desk.read("cb/live/a.example/fullchain.pem");
    let adopt = ["adopt", "--from", "certbot", &root, "--solver", "here", "--disable-source", "--yes"];
    desk.run(&adopt).ends(0).says("stops");
    assert_eq!((orders(&ca), desk.read("cb/live/a.example/fullchain.pem")), (0, chain));
    assert!(exists(&desk.path("cb/renewal/a.example.conf.nolapse")));
    desk.run(&adopt).ends(0).says("already adopted");
    desk.run(&["renew", "--force", "a.example"]).ends(0);
    let renewed = desk.read("cb/live/a.example/fullchain.pem");
    assert_eq!(renewed, desk.read("state/live/a.example/fullchain.pem"));
    desk.run(&["release", "a.example", "--to", "certbot"]).ends(0).says("moves").warns("--yes does it");
    desk.run(&["release", "a.example", "--to", "certbot", "--yes"]).ends(0);
    assert_eq!(desk.read("cb/live/a.example/fullchain.pem"), renewed);
    assert!(exists(&desk.path("cb/renewal/a.example.conf")) && !desk.path("cb/live/a.example").is_symlink());
    desk.run(&["status", "--json"]).ends(0).says("\"retired\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_adopts_is_the_states_owners_and_the_entry_is_roots() {
    use std::os::unix::fs::{MetadataExt, chown};
    const NOBODY: u32 = 65_534;
    if !is_root() {
        println!("SKIPPED: becoming another user: this is not root");
        return;
    }
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&desk.around(&ca));
    fs::create_dir(desk.path("state")).unwrap();
    let ssl = put_files(&desk, &["a.example"]);
    for path in ["state", "run", "ssl", "ssl/shop.crt"] {
        chown(desk.path(path), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let ran = desk.run(&["adopt", "--from", "files", &ssl, "--yes"]).ends(0);
    assert!(
        ran.out.contains("belonged to root and root") && ran.out.contains("see privileges.md"),
        "{ran:?}"
    );
    for file in desk.files("state") {
        assert_eq!(file.symlink_metadata().unwrap().uid(), NOBODY, "{}", file.display());
    }
    assert_eq!(fs::metadata(desk.path("etc/conf.d/a.example.toml")).unwrap().uid(), 0);
    desk.run_as(NOBODY, &["renew", "--force", "a.example"]).ends(0).says("renewed until");
    assert_eq!(desk.read("ssl/shop.crt"), desk.read("state/live/a.example/fullchain.pem"));
}
