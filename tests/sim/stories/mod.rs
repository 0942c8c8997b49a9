//! Named lives, one for each situation an operator can be in.

mod ca_trouble;
mod clock;
mod crash;
mod deployment;
mod issuance;
mod kept;
mod races;
mod renewal;
mod replay;
mod search;
mod together;
