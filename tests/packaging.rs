//! What is shipped beside the program works with the real tools: systemd, polkit's language, web
//! servers, dpkg, rpm, a bare root directory and a Kubernetes schema. A test whose tool is
//! missing says so in a line that starts with `SKIPPED:`.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "packaging/desk.rs"]
mod desk;

#[path = "packaging/container.rs"]
mod container;
#[path = "packaging/debian.rs"]
mod debian;
#[path = "packaging/kubernetes.rs"]
mod kubernetes;
#[path = "packaging/labels.rs"]
mod labels;
#[path = "packaging/polkit.rs"]
mod polkit;
#[path = "packaging/prometheus.rs"]
mod prometheus;
#[path = "packaging/readme.rs"]
mod readme;
#[path = "packaging/rpm.rs"]
mod rpm;
#[path = "packaging/sandbox.rs"]
mod sandbox;
#[path = "packaging/scripts.rs"]
mod scripts;
#[path = "packaging/servers.rs"]
mod servers;
#[path = "packaging/systemd.rs"]
mod systemd;
