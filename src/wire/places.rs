//! Where a process finds its files, as flags and the environment say.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Where things are; each also by environment.
#[derive(Clone, Debug, Default, Args)]
pub struct Places {
    /// Configuration file; conf.d/*.toml beside it is merged
    #[arg(
        long,
        short = 'c',
        global = true,
        value_name = "FILE",
        env = "NOLAPSE_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,
    /// State directory, over the configuration
    #[arg(long, global = true, value_name = "DIR", env = "NOLAPSE_STATE_DIR", hide_env_values = true)]
    pub state_dir: Option<PathBuf>,
    /// Directory of the live certificates, over the configuration
    #[arg(long, global = true, value_name = "DIR", env = "NOLAPSE_LIVE_DIR", hide_env_values = true)]
    pub live_dir: Option<PathBuf>,
    /// Directory of the public status file, over the configuration
    #[arg(long, global = true, value_name = "DIR", env = "NOLAPSE_RUN_DIR", hide_env_values = true)]
    pub run_dir: Option<PathBuf>,
    /// Log form
    #[arg(long, global = true, value_enum, env = "NOLAPSE_LOG_FORMAT", hide_env_values = true)]
    pub log_format: Option<LogForm>,
    /// What is logged: error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL", env = "NOLAPSE_LOG", hide_env_values = true)]
    pub log: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    Text,
    Json,
    Journal,
}
