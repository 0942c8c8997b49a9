//! stub
use crate::cli::args::Release;
use crate::cli::{Exit, Stop};
use crate::wire::Places;
pub fn run(_: &Places, _: &Release) -> Result<Exit, Stop> {
    Ok(Exit::Usage)
}
