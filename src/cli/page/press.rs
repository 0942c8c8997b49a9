//! Making the page when it is asked for, and not for each who asks.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::cli::watched::WatchReport;
use crate::cli::{page, publish};
use crate::core::time::{Span, Timestamp};
use crate::wire::{Making, StatusPage, Wired};

/// A page is shown again for so long: looking at ten thousand certificates takes CPU.
const FRESH: Span = Span::secs(5);

/// What serves the page of this agent.
pub fn press(wired: &Arc<Wired>) -> StatusPage {
    let last = Arc::new(Mutex::new(None::<(Timestamp, Arc<str>)>));
    let wired = wired.clone();
    let make = move || -> Making {
        let (wired, last) = (wired.clone(), last.clone());
        Box::pin(async move {
            // Whoever asks meanwhile waits here, and is given the same page.
            let mut last = last.lock().await;
            let now = wired.agent.clock.now();
            if let Some((at, html)) = &*last
                && (Span::ZERO..FRESH).contains(&now.since(*at))
            {
                return Ok(html.clone());
            }
            let watched = WatchReport::new(now, &wired.agent.watched()).watched;
            let report = publish::report(&wired).await?.beside(watched);
            let html: Arc<str> = page::render(&report).into();
            *last = Some((now, html.clone()));
            Ok(html)
        })
    };
    StatusPage { make: Arc::new(make), style: page::STYLE }
}
