//! haproxy by its runtime socket (`stats socket … level admin`): the new pair goes into the memory of
//! the running process. No reload, no second set of workers, no connection is touched.
//!
//! Which files haproxy holds it says itself (`show ssl cert`). Those that now hold the new
//! certificate on disk are set again, so nobody lists paths, and what a later reload reads is the
//! same. Each file is a transaction of haproxy's: set, commit, and abort where the commit fails.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::check::Check;
use crate::codec::bundle;
use crate::core::event::Deployment;
use crate::core::failure::{Failure, Fault, plain};
use crate::core::layout::Content;
use crate::core::spec::HookSpec;
use crate::core::time::Span;
use crate::ports::{Hook, Reply};
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;

/// Puts new certificates into a running haproxy (2.2 or later).
pub struct HaproxyHook {
    socket: String,
    timeout: Span,
    check: Check,
    clock: Clock,
    disk: Disk,
}

/// Longest answer read, in bytes: ten thousand paths of a hundred characters.
const ANSWER_MAX: usize = 1 << 20;
/// Most files that haproxy holds and that are looked into.
const FILES_MAX: usize = 20_000;
/// Largest such file, in bytes. haproxy takes no more than its `tune.bufsize` at once, 16 KiB if
/// nobody changed it, and says so.
const FILE_MAX: usize = 256 * 1024;
/// Characters of an answer kept in a failure.
const SHOWN: usize = 300;

impl HaproxyHook {
    pub fn new(spec: &HookSpec, socket: &str, clock: &Clock) -> Self {
        Self {
            socket: socket.to_owned(),
            timeout: spec.timeout,
            check: Check::of(spec, clock),
            clock: clock.clone(),
            disk: Disk::real(),
        }
    }

    async fn renew(&self, deployment: &Deployment) -> Result<(), Failure> {
        let held = self.held().await?;
        let mut files: BTreeMap<String, Vec<(&str, Content)>> = BTreeMap::new();
        for path in &held {
            // Gone, or not ours to read: then it is not what was written for this service.
            let Ok(content) = self.disk.read(Path::new(path), FILE_MAX) else { continue };
            if let Ok(leaf) = bundle::leaf_of(content.bytes()) {
                files.entry(leaf.fingerprint.to_string()).or_default().push((path, content));
            }
        }
        for deployed in &deployment.lineages {
            let Some(mine) = files.get(&deployed.fingerprint) else {
                return Err(Failure::transient(
                    Fault::Host,
                    "haproxy-holds-none",
                    format!(
                        "haproxy holds {} files and none of them is the new certificate of {}: does a `bind` line \
                         name its combined file, and may this process read that?",
                        held.len(),
                        deployed.lineage
                    ),
                ));
            };
            for (path, content) in mine {
                self.replace(path, content).await?;
            }
        }
        Ok(())
    }

    /// Paths of the files whose certificates haproxy serves.
    async fn held(&self) -> Result<Vec<String>, Failure> {
        let answer = self.ask(&Content::new(b"show ssl cert\n".to_vec())).await?;
        let paths: Vec<String> = answer.lines().filter_map(held_path).take(FILES_MAX).collect();
        if paths.is_empty() && !answer.contains("# filename") {
            // haproxy 2.6 says "Can't allocate memory" here where a right is missing.
            return Err(refused("show ssl cert", &answer));
        }
        Ok(paths)
    }

    async fn replace(&self, path: &str, content: &Content) -> Result<(), Failure> {
        let mut command = Vec::with_capacity(path.len() + content.len() + 32);
        command.extend_from_slice(format!("set ssl cert {path} <<\n").as_bytes());
        // An empty line ends what is set.
        for line in content.bytes().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            command.extend_from_slice(line);
            command.push(b'\n');
        }
        command.push(b'\n');
        let answer = self.ask(&Content::new(command)).await?;
        if !answer.starts_with("Transaction ") {
            return Err(refused("set ssl cert", &answer));
        }
        let answer = self.ask(&Content::new(format!("commit ssl cert {path}\n").into_bytes())).await?;
        if answer.contains("Success") {
            return Ok(());
        }
        let failure = refused("commit ssl cert", &answer);
        // An open transaction would keep the next one out; whether this works changes nothing now.
        let _ = self.ask(&Content::new(format!("abort ssl cert {path}\n").into_bytes())).await;
        Err(failure)
    }

    /// One command; haproxy closes after its answer.
    async fn ask(&self, command: &Content) -> Result<String, Failure> {
        let unreachable = |error: std::io::Error| {
            Failure::transient(
                Fault::Host,
                "haproxy-unreachable",
                format!(
                    "haproxy's socket {}: {error}; is it running, with `stats socket {} level admin`, and may this \
                     user open that?",
                    self.socket, self.socket
                ),
            )
        };
        let mut stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        stream.write_all(command.bytes()).await.map_err(unreachable)?;
        let mut answer = Vec::new();
        let most = u64::try_from(ANSWER_MAX).unwrap_or(u64::MAX);
        stream.take(most).read_to_end(&mut answer).await.map_err(unreachable)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Hook for HaproxyHook {
    fn check(&self) -> Reply<'_, Option<Result<(), Failure>>> {
        Box::pin(self.check.run())
    }

    /// Codes: `haproxy-unreachable`, `haproxy-refused`, `haproxy-holds-none`, `hook-timeout`.
    fn call<'a>(&'a self, deployment: &'a Deployment) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.clock.timeout(self.timeout, self.renew(deployment)).await.unwrap_or_else(|| {
                Err(Failure::transient(
                    Fault::Host,
                    "hook-timeout",
                    format!("haproxy at {} did not answer within {}", self.socket, self.timeout),
                ))
            })
        })
    }
}

/// A line of `show ssl cert` that names a file. A star marks a transaction that is open; a name with
/// a blank could not be given back on haproxy's command line.
fn held_path(line: &str) -> Option<String> {
    let path = line.trim_end().trim_start_matches('*');
    let fits = path.starts_with('/') && !path.contains(|c: char| c.is_whitespace() || c.is_control());
    fits.then(|| path.to_owned())
}

fn refused(command: &str, answer: &str) -> Failure {
    Failure::transient(
        Fault::Host,
        "haproxy-refused",
        format!(
            "haproxy does not take `{command}`: {}; the socket needs `level admin`",
            plain(answer.trim(), SHOWN)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_from_what_else_haproxy_says() {
        for (line, path) in [
            ("# filename", None),
            ("/etc/haproxy/certs/a.pem", Some("/etc/haproxy/certs/a.pem")),
            ("*/etc/haproxy/certs/b.pem", Some("/etc/haproxy/certs/b.pem")),
            ("relative.pem", None),
            ("/etc/with a blank.pem", None),
            ("/etc/a.pem\r", Some("/etc/a.pem")),
            ("", None),
        ] {
            assert_eq!(held_path(line).as_deref(), path, "{line:?}");
        }
    }
}
