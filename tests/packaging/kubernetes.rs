use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nolapse::config::{Facts, Source, resolve};
use nolapse::core::name::LineageId;

use crate::desk::{Desk, run, shipped, skipped, succeed, text, tool};

const FILES: [&str; 4] = ["configmap.yaml", "state.yaml", "sidecar.yaml", "native-sidecar.yaml"];

/// The schema validator in a virtual environment below `target/`, made once.
fn validator() -> Result<PathBuf, String> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes-validate");
        let program = dir.join("bin/kubernetes-validate");
        if run(Command::new("test").arg("-x").arg(&program)).status.success() {
            return Ok(program);
        }
        let python = tool("python3").ok_or("python3 is not installed")?;
        let steps: [(&Path, &[&str]); 2] = [
            (&python, &["-m", "venv", dir.to_str().unwrap_or_default()]),
            (&dir.join("bin/pip"), &["install", "--quiet", "kubernetes-validate>=1.37,<1.38"]),
        ];
        for (program, arguments) in steps {
            let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
            if !output.status.success() {
                let words = String::from_utf8_lossy(&output.stderr).into_owned();
                let last = words.lines().last().unwrap_or_default().to_owned();
                return Err(format!("kubernetes-validate can't be installed: {last}"));
            }
        }
        Ok(program)
    })
    .clone()
}

#[test]
fn a_schema_validator_accepts_every_manifest() {
    let program = match validator() {
        Ok(program) => program,
        Err(why) => return skipped("a_schema_validator_accepts_every_manifest", &why),
    };
    let strictly = |path: &Path| run(Command::new(&program).arg("--strict").arg(path));
    for file in FILES {
        let output = strictly(&shipped("kubernetes").join(file));
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // The same validator must refuse a slip, or the above proves nothing.
    let desk = Desk::new("kubernetes");
    let slip = text("kubernetes/sidecar.yaml").replace("readOnlyRootFilesystem", "readonlyRootFilesystem");
    assert!(!strictly(&desk.write("slip.yaml", &slip)).status.success());
}

#[test]
fn every_manifest_is_tried() {
    let mut found: Vec<_> = std::fs::read_dir(shipped("kubernetes"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".yaml"))
        .collect();
    found.sort();
    let mut expected = FILES.map(String::from).to_vec();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_web_server_sees_live_alone_and_cannot_write_it() {
    for file in ["sidecar.yaml", "native-sidecar.yaml"] {
        let text = text(&format!("kubernetes/{file}"));
        let web = &text[text.find("- name: web\n          image:").unwrap()..];
        let web = &web[..web.find("\n      volumes:").unwrap()];
        assert!(web.contains("{ name: live, mountPath: /live, readOnly: true }"), "{web}");
        assert!(!web.contains("name: state"), "{web}");
        assert!(text.contains("claimName: nolapse-state"), "state is durable");
        assert!(text.contains("/livez") && text.contains("/readyz") && !text.contains("/healthz"));
    }
}

#[test]
fn the_two_forms_differ_in_the_sidecar_alone() {
    let lines = |file: &str| -> Vec<String> {
        let mut lines: Vec<_> =
            text(file).lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let plain = lines("kubernetes/sidecar.yaml");
    let mut native = lines("kubernetes/native-sidecar.yaml");
    for line in plain {
        let at = native.iter().position(|other| *other == line);
        native.remove(at.unwrap_or_else(|| panic!("only in the plain form: {line}")));
    }
    assert!(native.iter().any(|line| line.trim() == "restartPolicy: Always"), "{native:?}");
    assert_eq!(native.len(), 6, "{native:?}");
}

/// The text of one entry of the `ConfigMap`, without its indent.
fn entry(name: &str) -> String {
    let map = text("kubernetes/configmap.yaml");
    let from = map.find(&format!("  {name}: |\n")).unwrap();
    map[from..]
        .lines()
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .flat_map(|line| [line.strip_prefix("    ").unwrap_or_default(), "\n"])
        .collect()
}

#[test]
fn the_configuration_in_the_map_is_accepted_without_a_warning() {
    let sources = [Source::new("nolapse.toml", entry("nolapse.toml"))];
    let resolved = resolve(&sources, &Facts::default());
    assert!(resolved.problems.is_empty(), "{:#?}", resolved.problems);
    let lineage = LineageId::parse("shop.example.com").unwrap();
    let spec = resolved.wanted.lineages.get(&lineage).unwrap();
    assert_eq!(spec.rights.key_mode, 0o640, "the group that fsGroup gives may read keys");
    assert_eq!(resolved.agent.live_dir, Path::new("/live"));
    assert!(resolved.agent.state_dir.starts_with("/state"));
}

#[test]
fn nginx_accepts_its_configuration_in_the_map() {
    const NAME: &str = "nginx_accepts_its_configuration_in_the_map";
    let (Some(nginx), Some(openssl)) = (tool("nginx"), tool("openssl")) else {
        return skipped(NAME, "nginx or openssl is not installed");
    };
    let desk = Desk::new("pod");
    let live = desk.path("live/shop.example.com");
    std::fs::create_dir_all(&live).unwrap();
    succeed(
        Command::new(openssl)
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-subj", "/CN=shop.example.com", "-days", "1", "-keyout"])
            .arg(live.join("privkey.pem"))
            .arg("-out")
            .arg(live.join("fullchain.pem")),
    );
    let dir = desk.path("");
    let config = entry("nginx.conf")
        .replace("/tmp/", &format!("{}tmp-", dir.display()))
        .replace("/live/", &format!("{}live/", dir.display()));
    let config = desk.write("nginx.conf", &config);
    let words = succeed(Command::new(nginx).args(["-t", "-q", "-e", "stderr", "-c"]).arg(config));
    assert_eq!(words, "");
}
