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

/// A tree of acme.sh's with one certificate by `way`, and what it saved for all.
fn put_acme_sh(desk: &Desk, way: &str, account: &str) -> String {
    let (leaf, root, key) = bought(&["a.example"]);
    desk.write("ac/a.example/a.example.key", &key);
    desk.write("ac/a.example/fullchain.cer", &format!("{leaf}{root}"));
    desk.write("ac/a.example/a.example.conf", &format!("Le_Domain='a.example'\nLe_Webroot='{way}'\n"));
    desk.write("ac/account.conf", account);
    desk.show("ac")
}

/// What a plan says of names that were proved by DNS: lines of the new solver, and never a secret.
#[cfg(feature = "dns-providers")]
#[test]
fn credentials_for_dns_are_translated_or_the_lack_is_said() {
    const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw==";
    for (plugin, ini, said) in [
        (
            "dns-rfc2136",
            "dns_rfc2136_server = 192.0.2.53\ndns_rfc2136_port = 5353\ndns_rfc2136_name = acme.\n\
             dns_rfc2136_secret = SECRET\ndns_rfc2136_algorithm = HMAC-SHA512\n",
            &["provider = \"rfc2136\"", "server = \"192.0.2.53:5353\"", "tsig-key-file = ", "copies"][..],
        ),
        (
            "dns-rfc2136",
            "dns_rfc2136_server = 2001:db8::53\ndns_rfc2136_port = 53\ndns_rfc2136_name = acme.\n\
             dns_rfc2136_secret = SECRET\ndns_rfc2136_algorithm = HMAC-SHA256\n",
            &["server = \"[2001:db8::53]:53\""],
        ),
        (
            "dns-cloudflare",
            "# Cloudflare API token\ndns_cloudflare_api_token = SECRET\n",
            &["provider = \"cloudflare\"", "token-file = ", ".token\"", "no longer counts"],
        ),
        (
            "certbot-dns-ovh:dns-ovh",
            "dns_ovh_endpoint = ovh-ca\ndns_ovh_application_key = SECRET\n\
             dns_ovh_application_secret = SECRET\ndns_ovh_consumer_key = SECRET\n",
            &["provider = \"ovh\"", "endpoint = \"ovh-ca\"", "consumer-key-file = "],
        ),
    ] {
        let desk = Desk::with("[issuer.letsencrypt]\naccept-terms = true\n");
        let key = format!("{}_credentials", plugin.rsplit(':').next().unwrap().replace('-', "_"));
        desk.write("dns.ini", &ini.replace("SECRET", SECRET));
        let root =
            put_certbot(&desk, &format!("authenticator = {plugin}\n{key} = {}\n", desk.show("dns.ini")));
        let ran = desk.run(&["adopt", "--from", "certbot", &root]).ends(0);
        for words in said {
            assert!(ran.out.contains(words), "{plugin}: {words}\n{}{}", ran.out, ran.err);
        }
        let json = desk.run(&["adopt", "--from", "certbot", &root, "--json"]).ends(0);
        assert!(![ran.out, ran.err, json.out, json.err].concat().contains(SECRET), "a secret is shown");
    }
    for (plugin, ini, words) in [
        (
            "dns-cloudflare",
            "dns_cloudflare_email = a@a.example\ndns_cloudflare_api_key = SECRET\n",
            "does not say api_token",
        ),
        ("dns-cloudflare", "", "write a [solver.NAME] with provider = \"cloudflare\""),
        ("dns-route53", "", "write a [solver.NAME] with provider = \"route53\""),
        (
            "dns-rfc2136",
            "dns_rfc2136_server = 192.0.2.53\ndns_rfc2136_name = a.\ndns_rfc2136_secret = SECRET\n",
            "its key can't be used",
        ),
        ("dns-njalla", "dns_njalla_token = SECRET\n", "that set-up is not taken over"),
    ] {
        let desk = Desk::with("");
        desk.write("dns.ini", &ini.replace("SECRET", SECRET));
        let key = format!("{}_credentials", plugin.replace('-', "_"));
        let file = if ini.is_empty() { String::new() } else { format!("{key} = {}\n", desk.show("dns.ini")) };
        let root = put_certbot(&desk, &format!("authenticator = {plugin}\n{file}"));
        let ran = desk.run(&["adopt", "--from", "certbot", &root, "--yes"]).ends(1).warns(words);
        assert!(!(ran.out + &ran.err).contains(SECRET), "a secret is shown");
        assert!(!exists(&desk.path("etc/conf.d")) && !exists(&desk.path("etc/credentials")));
    }
    for (way, account, said) in [
        ("dns_cf", "SAVED_CF_Token='SECRET'\n", &["provider = \"cloudflare\"", "token-file = "][..]),
        (
            "dns_aws",
            "SAVED_AWS_ACCESS_KEY_ID='AKIAEXAMPLE'\nSAVED_AWS_SECRET_ACCESS_KEY='SECRET'\n",
            &["provider = \"route53\"", "access-key = \"AKIAEXAMPLE\"", "secret-key-file = "],
        ),
        (
            "dns_pdns",
            "SAVED_PDNS_Url='http://127.0.0.1:8081'\nSAVED_PDNS_ServerId='localhost'\nSAVED_PDNS_Token='SECRET'\n",
            &["provider = \"powerdns\"", "url = \"http://127.0.0.1:8081\"", "server-id = \"localhost\""],
        ),
    ] {
        let desk = Desk::with("[issuer.letsencrypt]\naccept-terms = true\n");
        let root = put_acme_sh(&desk, way, &account.replace("'SECRET'", &format!("'{SECRET}'")));
        let ran = desk.run(&["adopt", "--from", "acme.sh", &root]).ends(0);
        for words in said {
            assert!(ran.out.contains(words), "{way}: {words}\n{}{}", ran.out, ran.err);
        }
        assert!(!(ran.out + &ran.err).contains(SECRET), "a secret is shown");
    }
    let desk = Desk::with("");
    let root = put_acme_sh(&desk, "dns_cf", "SAVED_CF_Key='SECRET'\nSAVED_CF_Email='a@a.example'\n");
    desk.run(&["adopt", "--from", "acme.sh", &root]).ends(0).warns("does not say CF_Token");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_for_dns_are_copied_for_the_agent_alone() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    let ca = desk.ca().start().await.unwrap();
    desk.configure(&desk.around(&ca));
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw==";
    desk.write(
        "dns.ini",
        &format!(
            "dns_rfc2136_server = 127.0.0.1\ndns_rfc2136_name = acme.\ndns_rfc2136_secret = {secret}\n\
             dns_rfc2136_algorithm = HMAC-SHA256\n"
        ),
    );
    let params = format!(
        "authenticator = dns-rfc2136\ndns_rfc2136_credentials = {}\nserver = {}\n",
        desk.show("dns.ini"),
        ca.directory_url()
    );
    let root = put_certbot(&desk, &params);
    let adopt = ["adopt", "--from", "certbot", &root, "--yes"];
    let ran = desk.run(&adopt).ends(0);
    assert!(!(ran.out + &ran.err).contains(secret), "a secret is shown");
    let copies: Vec<_> =
        fs::read_dir(desk.path("etc/credentials")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [copy] = &copies[..] else { panic!("{copies:?}") };
    assert_eq!(fs::metadata(copy).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(copy).unwrap();
    assert!(text.starts_with("key \"acme.\" {") && text.contains("hmac-sha256") && text.contains(secret));
    for entry in fs::read_dir(desk.path("etc/conf.d")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains(secret), "a secret is in the configuration");
    }
    desk.run(&adopt).ends(0).says("already adopted");
    desk.run(&["check"]).says("tsig-key-file");

    // A run that was cut off after the copy is taken up; another's file stays.
    for (there, code) in [(text.as_str(), 0), ("somebody else's", 5)] {
        let desk = Desk::new();
        desk.configure(&desk.around(&ca));
        desk.write("dns.ini", &fs::read_to_string(copy).unwrap());
        let root =
            put_acme_sh(&desk, "dns_nsupdate", &format!("SAVED_NSUPDATE_KEY='{}'\n", desk.show("dns.ini")));
        let plan = desk.run(&["adopt", "--from", "acme.sh", &root, "--json"]).ends(0).json();
        let path = plan["adopt"][0]["copies"][0]["path"].as_str().unwrap().to_owned();
        fs::create_dir_all(desk.path("etc/credentials")).unwrap();
        fs::write(&path, there).unwrap();
        desk.run(&["adopt", "--from", "acme.sh", &root, "--yes"]).ends(code);
        assert_eq!(fs::read_to_string(&path).unwrap(), there);
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
