//! The heartbeat: a GET request as healthchecks, Uptime Kuma and their like take it, or a program.

use super::exec;
use super::webhook::{answered, client, secret, url};
use crate::core::channel::{Beat, HeartbeatSpec};
use crate::core::failure::Failure;
use crate::core::time::Span;
use crate::ports::{Heart, Reply, Secrets};
use crate::sys::clock::Clock;
use crate::sys::process::Program;

pub struct Heartbeat {
    how: Beat,
    timeout: Span,
    secrets: Secrets,
    clock: Clock,
}

impl Heartbeat {
    pub fn new(spec: &HeartbeatSpec, secrets: &Secrets, clock: &Clock) -> Self {
        Self { how: spec.how.clone(), timeout: spec.timeout, secrets: secrets.clone(), clock: clock.clone() }
    }
}

impl Heart for Heartbeat {
    /// With trouble the words go along as the body of a POST, as healthchecks keeps them; where
    /// there is no URL for trouble, silence tells of it. Codes as those of a webhook and of exec.
    fn beat<'a>(&'a self, trouble: Option<&'a str>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            match (&self.how, trouble) {
                (Beat::Exec { argv }, trouble) => {
                    let word = if trouble.is_some() { "fail" } else { "ok" };
                    let program = Program {
                        argv: argv.iter().cloned().chain([word.to_owned()]).collect(),
                        env: vec![
                            ("PATH".to_owned(), Program::PATH.to_owned()),
                            ("NOLAPSE_EVENT".to_owned(), "heartbeat".to_owned()),
                        ],
                        stdin: trouble.unwrap_or_default().as_bytes().to_vec(),
                        timeout: self.timeout,
                        user: None,
                    };
                    exec::run(&program, &self.clock).await
                }
                (Beat::Url { fail: None, .. }, Some(_)) => Ok(()),
                (Beat::Url { ping, fail, secret: source }, trouble) => {
                    let secret = secret(source.as_ref(), &self.secrets)?;
                    let template = fail.as_ref().filter(|_| trouble.is_some()).unwrap_or(ping);
                    let url = url(template, secret.as_deref())?;
                    let client = client(&url, None)?;
                    let request = match trouble {
                        Some(words) => client.post(url.clone()).body(words.to_owned()),
                        None => client.get(url.clone()),
                    };
                    answered(&url, request.send().await).await
                }
            }
        })
    }
}
