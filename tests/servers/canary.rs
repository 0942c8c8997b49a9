//! No private key, account key or binding key shows anywhere (T12, S19). Every site is searched
//! when it is dropped; here the search has the most to look at, and is itself tried.

use crate::stage::pebble;
use crate::support::agent::Site;
use crate::support::pebble::{EAB_KEY, EAB_KID, Options};

#[test]
fn t12_no_key_shows_in_output_records_status_metrics_or_a_childs_proc() {
    let Some(pebble) = pebble(&Options { eab: true, ..Options::default() }) else { return };
    let mut site = Site::new();
    site.secrets.push(EAB_KEY.to_owned());
    std::fs::create_dir(site.path("seen")).unwrap();
    let hook = site.script(
        "hook",
        &format!(
            "cat > {0}/stdin\ntr '\\0' '\\n' < /proc/$$/environ > {0}/environ\n\
             tr '\\0' '\\n' < /proc/$$/cmdline > {0}/cmdline\n\
             tr '\\0' '\\n' < /proc/$PPID/cmdline > {0}/parent-cmdline",
            site.text("seen")
        ),
    );
    let config = site
        .config()
        .agent(&format!("textfile = {:?}", site.path("seen/nolapse.prom")))
        .pebble(&pebble, &site.root())
        .text(&format!("[issuer.pebble.eab]\nkid = {EAB_KID:?}\nhmac-key-env = \"BINDING_KEY\""))
        .listener(pebble.http_port())
        .text(&format!("[hook.spy]\nrun = [{hook:?}]"))
        .certificate("canary.example", "hooks = [\"spy\"]")
        .certificate("rsa.example", "key = \"rsa-2048\"");
    site.write(&config);
    let mut command = site.command(&["--log", "trace", "--log-format", "json", "renew", "--json"]);
    command.env("BINDING_KEY", EAB_KEY);
    let ran = site.spawn(command).finish();
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    assert!(ran.err.lines().count() > 10, "a trace has much to say: {}", ran.err);
    for args in [&["status", "--json"][..], &["explain", "canary.example"], &["renew", "--log", "trace"]] {
        let mut command = site.command(args);
        command.env("BINDING_KEY", EAB_KEY);
        assert_eq!(site.spawn(command).finish().code, Some(0), "{args:?}");
    }
    // A run that fails says much as well.
    drop(pebble);
    let mut command = site.command(&["--log", "trace", "renew", "--force", "canary.example"]);
    command.env("BINDING_KEY", EAB_KEY);
    assert_eq!(site.spawn(command).finish().code, Some(1));

    for (file, word) in [
        ("stdin", "canary.example"),
        ("environ", "RENEWED_LINEAGE"),
        ("cmdline", "hook"),
        ("nolapse.prom", "nolapse_"),
    ] {
        let text = std::fs::read_to_string(site.path("seen").join(file)).unwrap();
        assert!(text.contains(word), "{file}: {text}");
        assert!(!text.contains("BINDING_KEY"), "{file}: {text}");
    }
    assert_eq!(site.leak(), None);

    // The search finds what it should: a leaf's key, an RSA key's middle, the account's key.
    let pieces = site.canaries();
    assert!(pieces.len() > 12, "{} pieces of leaf, account and binding keys", pieces.len());
    for piece in &pieces {
        std::fs::write(site.path("seen/planted"), format!("so {piece} it is")).unwrap();
        assert!(site.leak().is_some());
    }
    std::fs::remove_file(site.path("seen/planted")).unwrap();
}
