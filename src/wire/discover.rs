//! Eyes for a look around this host.

use std::path::Path;
use std::sync::Arc;

use crate::agent::discover;
use crate::config::{NamesSource, Transparency};
use crate::core::discovery::Sightings;
use crate::core::failure::Failure;
use crate::core::name::SubjectName;
use crate::probe::TlsProbe;
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;
use crate::watch::{HostScout, transparency};

/// What stands in a URL for the domain that is asked about.
const DOMAIN: &str = "{domain}";

/// All that can be seen below `root`; `ports`: which listening sockets of this host are asked,
/// `None`: none of them, an empty list: all.
pub async fn sightings(root: &Path, live_dir: &Path, ports: Option<Vec<u16>>, clock: &Clock) -> Sightings {
    let scout = HostScout::new(Disk::real(), root.to_owned(), live_dir.to_owned(), ports);
    discover(&scout, Arc::new(TlsProbe::new(clock.clone(), Vec::new()))).await
}

/// Names that certificates were issued for in or below `domains`.
pub async fn issued_names(
    source: &Transparency,
    domains: &[String],
    clock: &Clock,
) -> Result<Vec<SubjectName>, Failure> {
    match &source.from {
        NamesSource::Exec(argv) => transparency::by_program(argv, domains, source.timeout, clock).await,
        NamesSource::Url(url) => {
            let url = |domain: &str| url.replace(DOMAIN, domain);
            transparency::by_url(url, domains, source.timeout, clock).await
        }
    }
}
