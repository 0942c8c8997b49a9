//! A CA, a web server and the program, set up as most tests want them.

use std::time::Duration;

use crate::support::agent::Site;
use crate::support::config::Config;
use crate::support::nginx::Nginx;
use crate::support::pebble::{Options, Pebble};
use crate::support::{ports, served};

/// Ninety days, as public CAs gave for years.
pub const LIFE: u64 = 90 * 86_400;

/// A CA that answers for names at `ports::free()`.
pub fn pebble(options: &Options) -> Option<Pebble> {
    let http = options.http_port.or_else(|| Some(ports::free()));
    let validity = options.validity.or(Some(LIFE));
    let tls = options.tls_port.or_else(|| Some(ports::free()));
    Pebble::start(&Options { http_port: http, tls_port: tls, validity, ..options.clone() })
}

/// Pebble, an nginx that will serve `names`, and a configuration with an own listener.
pub struct Stage {
    // Dropped in this order: servers before the directory they live in.
    pub nginx: Nginx,
    pub pebble: Pebble,
    pub site: Site,
}

impl Stage {
    pub fn new() -> Option<Self> {
        Self::with(&Options::default())
    }

    pub fn with(options: &Options) -> Option<Self> {
        let pebble = pebble(options)?;
        let site = Site::new();
        let nginx = Nginx::start(&site, ports::free())?;
        Some(Self { nginx, pebble, site })
    }

    /// nginx holds the port that the CA asks at, and serves answers as files: they stay when the
    /// program dies.
    pub fn by_files() -> Option<Self> {
        let pebble = pebble(&Options::default())?;
        let site = Site::new();
        let nginx = Nginx::start(&site, pebble.http_port())?;
        Some(Self { nginx, pebble, site })
    }

    /// Issuer and solver, no service yet.
    pub fn bare(&self) -> Config {
        let config = self.site.config().pebble(&self.pebble, &self.site.root());
        let port = self.pebble.http_port();
        if self.nginx.http == port {
            config.webroot(&self.site.path("www"), port)
        } else {
            config.listener(port)
        }
    }

    /// The service `ng` with nginx's own check and reload.
    pub fn config(&self) -> Config {
        let (check, reload) = (self.nginx.check(), self.nginx.reload());
        self.bare().service("ng", &words(&check), &words(&reload), &[self.nginx.https])
    }

    /// As [`Self::config`], with another reload.
    pub fn config_with_reload(&self, reload: &[&str]) -> Config {
        self.bare().service("ng", &words(&self.nginx.check()), reload, &[self.nginx.https])
    }

    /// Writes a configuration with these certificates, all served by nginx.
    pub fn wants(&self, names: &[&str]) {
        let config =
            names.iter().fold(self.config(), |config, name| config.certificate(name, "service = \"ng\""));
        self.site.write(&config);
        self.nginx.serve(&self.site, names, "");
    }

    /// What nginx shows is what lies in the live directory. Workers from before a reload may take
    /// connections for a moment longer, so a look that fails is repeated.
    pub fn shows(&self, name: &str) -> bool {
        let file = self.site.live(name, "cert.pem");
        ports::wait_for(Duration::from_secs(20), || {
            file.exists() && served::leaf(self.nginx.https, name) == Some(served::leaf_of(&file))
        })
    }

    /// Orders placed at the CA so far.
    pub fn orders(&self) -> usize {
        self.pebble.count("POST", "/order-plz")
    }
}

pub fn words(argv: &[String]) -> Vec<&str> {
    argv.iter().map(String::as_str).collect()
}
