//! Debian's servers on loopback, each in the foreground with a configuration and directories of its
//! own, as root or as somebody without rights.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::agent::{Site, is_root};
use super::nginx::installed;
use super::ports::{self, wait_for};
use super::served;

/// One server's way of being started, told and looked at.
pub struct Recipe {
    /// The name of the built-in service.
    pub service: &'static str,
    pub program: &'static str,
    pub package: &'static str,
    /// What else must be there.
    pub needs: &'static str,
    /// Files to write into its directory, by name; see [`Server::fill`] for what is filled in.
    pub files: &'static [(&'static str, &'static str)],
    /// Arguments after the program.
    pub args: &'static [&'static str],
    /// The check of the built-in service, with the configuration of this one.
    pub check: &'static [&'static str],
    /// As its unit reloads it.
    pub reload: &'static str,
    pub port: Port,
    /// Further lines of the certificate's table.
    pub certificate: &'static str,
    /// Runs as a user without rights.
    pub unprivileged: bool,
    /// Does not run as root.
    pub never_root: bool,
    /// A shell script that prepares its directory, run as the user that it will run as.
    pub prepare: &'static str,
    /// A reload adds an RSA pair beside the ECDSA one, and clients still get the old.
    pub keeps_ecdsa: bool,
}

/// How the certificate comes through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// By TLS at once; looked at with rustls.
    Tls,
    /// After STARTTLS, by the name that OpenSSL and nolapse both have for the protocol; looked at with
    /// OpenSSL.
    StartTls(&'static str),
}

/// A running server. Ends when dropped.
pub struct Server {
    child: Child,
    dir: PathBuf,
    pub port: u16,
    recipe: &'static Recipe,
}

/// A directory for one server below the site's.
pub struct Ground<'a> {
    pub site: &'a Site,
    pub name: &'static str,
    pub port: u16,
    pub spare: u16,
    /// Runs it as `nobody`.
    pub as_nobody: bool,
    recipe: &'static Recipe,
}

/// `nobody` of Debian.
pub const NOBODY: u32 = 65_534;

impl<'a> Ground<'a> {
    /// `None`, with a line that starts with `SKIPPED:`, where the server is not installed or can't
    /// be started by who we are.
    pub fn new(site: &'a Site, recipe: &'static Recipe, name: &'static str, as_nobody: bool) -> Option<Self> {
        let program = with_postgres(recipe.program);
        let missing = !installed(&program) && !Path::new(&program).is_file();
        if missing || !(recipe.needs.is_empty() || Path::new(recipe.needs).exists()) {
            println!("SKIPPED: {} is not installed (Debian: apt install {})", recipe.service, recipe.package);
            return None;
        }
        if !is_root() {
            println!("SKIPPED: {} as another user, or with its own users: this needs root", recipe.service);
            return None;
        }
        if recipe.program == "unshare" && !mounts() {
            println!(
                "SKIPPED: {} needs a mount namespace of its own, and there is none here",
                recipe.service
            );
            return None;
        }
        let ground = Self { site, name, port: ports::free(), spare: ports::free(), as_nobody, recipe };
        let dir = ground.dir();
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        for (file, text) in recipe.files {
            fs::write(dir.join(file), ground.fill(text)).unwrap();
        }
        if as_nobody {
            chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
            for (file, _) in recipe.files {
                chown(dir.join(file), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        if !recipe.prepare.is_empty() {
            let done = ground.command("sh").arg("-ec").arg(ground.fill(recipe.prepare)).output().unwrap();
            assert!(done.status.success(), "{}: {}", recipe.service, String::from_utf8_lossy(&done.stderr));
        }
        Some(ground)
    }

    pub fn dir(&self) -> PathBuf {
        self.site.path(self.recipe.service)
    }

    /// `@PG@` (where Debian keeps PostgreSQL's newest programs), `@DIR@`, `@PORT@`, `@SPARE@`, `@NAME@`, `@LIVE@` (the certificate's directory), and `@ROOT@ …`
    /// and `@NOBODY@ …`, which begin lines for one of the two only.
    pub fn fill(&self, text: &str) -> String {
        let live = self.site.path("state/live").join(self.name);
        let (here, elsewhere) =
            if self.as_nobody { ("@NOBODY@ ", "@ROOT@ ") } else { ("@ROOT@ ", "@NOBODY@ ") };
        with_postgres(text)
            .lines()
            .filter(|line| !line.starts_with(elsewhere))
            .map(|line| line.strip_prefix(here).unwrap_or(line).to_owned() + "\n")
            .collect::<String>()
            .replace("@DIR@", self.dir().to_str().unwrap())
            .replace("@LIVE@", live.to_str().unwrap())
            .replace("@PORT@", &self.port.to_string())
            .replace("@SPARE@", &self.spare.to_string())
            .replace("@NAME@", self.name)
    }

    pub fn check(&self) -> Vec<String> {
        self.recipe.check.iter().map(|word| self.fill(word).trim_end().to_owned()).collect()
    }

    /// Any program as the server's user.
    fn command(&self, program: &str) -> Command {
        let mut command = if self.as_nobody {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.env("HOME", self.dir()).current_dir(self.dir());
        command
    }

    pub fn start(&self) -> Server {
        let dir = self.dir();
        let log = File::create(dir.join("said")).unwrap();
        let args = self.recipe.args.iter().map(|arg| self.fill(arg).trim_end().to_owned());
        let child = self
            .command(&with_postgres(self.recipe.program))
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        fs::write(dir.join("pid"), child.id().to_string()).unwrap();
        let mut server = Server { child, dir, port: self.port, recipe: self.recipe };
        let up = wait_for(Duration::from_secs(20), || {
            ports::answers(self.port) || !matches!(server.child.try_wait(), Ok(None))
        });
        assert!(
            up && ports::answers(self.port),
            "{} does not listen:\n{}",
            self.recipe.service,
            server.log()
        );
        server
    }

    /// How a service tells this server, for a configuration.
    pub fn reload(&self) -> Vec<String> {
        vec!["sh".into(), "-c".into(), self.fill(self.recipe.reload).trim_end().to_owned()]
    }

    /// `proto://127.0.0.1:port`
    pub fn endpoint(&self) -> String {
        let protocol = match self.recipe.port {
            Port::Tls => "tls",
            Port::StartTls(protocol) => protocol,
        };
        format!("{protocol}://127.0.0.1:{}", self.port)
    }
}

impl Server {
    pub fn log(&self) -> String {
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let logs = files.filter(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            name == "said" || name.starts_with("log")
        });
        logs.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect()
    }

    /// The leaf's DER that a client gets now.
    pub fn leaf(&self, name: &str) -> Option<Vec<u8>> {
        match self.recipe.port {
            Port::Tls => served::leaf(self.port, name),
            Port::StartTls(protocol) => by_openssl(self.port, protocol, name),
        }
    }
}

/// The text with the directory of PostgreSQL's programs in place of `@PG@`.
pub fn with_postgres(text: &str) -> String {
    if !text.contains("@PG@") {
        return text.to_owned();
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    text.replace("@PG@", &format!("/usr/lib/postgresql/{}/bin", newest.unwrap_or_default()))
}

/// Whether this process can make a mount namespace.
fn mounts() -> bool {
    Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success())
}

/// What OpenSSL sees behind a protocol's STARTTLS.
fn by_openssl(port: u16, protocol: &str, name: &str) -> Option<Vec<u8>> {
    let seen = Command::new("timeout")
        .args(["10", "openssl", "s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(["-starttls", protocol, "-servername", name])
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&seen.stdout).into_owned();
    text.contains("BEGIN CERTIFICATE").then(|| served::leaf_in(text.as_bytes()))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Masters end their children; killed outright they would leave them behind.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        if !wait_for(Duration::from_secs(10), || matches!(self.child.try_wait(), Ok(Some(_)))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
