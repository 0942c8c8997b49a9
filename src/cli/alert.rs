//! `nolapse alert`: whether people are reached, and what they were told.

use crate::agent::{read_acks, read_ledger};
use crate::cli::args::{Alert, AlertWhat};
use crate::cli::{Exit, Stop, print, publish};
use crate::core::failure::{Failure, Fault};
use crate::core::name::ChannelId;
use crate::wire::{self, Loaded, Places, Role, Wired};

pub fn run(places: &Places, alert: &Alert) -> Result<Exit, Stop> {
    match &alert.what {
        AlertWhat::Test { channel } => test(places, channel.as_deref()),
        AlertWhat::List { json } => list(places, *json),
    }
}

/// Fires every channel, and says of each what happened.
fn test(places: &Places, only: Option<&str>) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    let settings = &loaded.resolved.alerts;
    if settings.channels.is_empty() && settings.heartbeat.is_none() {
        print::error("nobody is told anything: the configuration has no [alert.NAME] and no [heartbeat]");
        return Ok(Exit::Configuration);
    }
    let only = only.map(|name| known(&loaded, name)).transpose()?;
    crate::cli::owner::take_its_place(&loaded.settings)?;
    wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let mut well = true;
        for (id, kind, sent) in wired.herald.test(only.as_ref()).await {
            well &= sent.is_ok();
            print::line(&format!("{id} ({kind})  {}", said(sent)));
        }
        if only.is_none()
            && let Some(sent) = wired.herald.test_heart().await
        {
            well &= sent.is_ok();
            print::line(&format!("heartbeat  {}", said(sent)));
        }
        Ok(if well { Exit::Fine } else { Exit::Failed })
    })
}

fn said(sent: Result<(), Failure>) -> String {
    sent.map_or_else(|failure| format!("FAILED: {failure}"), |()| "ok".to_owned())
}

fn known(loaded: &Loaded, name: &str) -> Result<ChannelId, Stop> {
    let channels = &loaded.resolved.alerts.channels;
    if let Some(channel) = channels.iter().find(|channel| channel.id.as_str() == name) {
        return Ok(channel.id.clone());
    }
    let there: Vec<_> = channels.iter().map(|channel| channel.id.to_string()).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    print::error(&format!("there is no channel {name:?}; there is {there}"));
    Err(Stop::Said(Exit::Usage))
}

/// What stands, and who said that they know.
fn list(places: &Places, json: bool) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    crate::cli::owner::take_its_place(&loaded.settings)?;
    wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::Reader).await?;
        let store = &*wired.agent.store;
        let ((ledger, _), (acks, _)) = (read_ledger(store).await?, read_acks(store).await?);
        if json {
            print::json(&serde_json::json!({ "version": 1, "alerts": ledger.alerts, "channels": ledger.channels, "acks": acks.acks }))?;
            return Ok(Exit::Fine);
        }
        let standing = ledger.standing();
        if standing.is_empty() {
            print::line("nothing stands that anybody was told of");
        }
        for (_, alert) in standing {
            let silent = if alert.silenced { " (acknowledged)" } else { "" };
            let more = if alert.count > 1 { format!(" and {} more", alert.count - 1) } else { String::new() };
            let first = alert.subjects.first().map_or("", String::as_str);
            print::line(&format!(
                "{}{silent}  {first}{more}: {}  [{}]  since {}",
                alert.gravity.word().to_uppercase(),
                alert.words,
                alert.code,
                alert.raised_at.unwrap_or(alert.first_at).brief()
            ));
        }
        for (id, note) in ledger.channels.iter().filter(|(_, note)| note.failures > 0) {
            let words = note.words.as_deref().unwrap_or("it gave no reason");
            print::line(&format!("channel {id} fails: {words}"));
        }
        for ack in &acks.acks {
            if ack.until > wired.agent.clock.now() {
                print::line(&format!("acknowledged: {} until {} ({})", ack.subject, ack.until.brief(), ack.reason));
            }
        }
        Ok(Exit::Fine)
    })
}

/// What a process that runs by a timer does at its end. Not worth failing for: what was not sent
/// is still owed, and the next run sends it.
pub async fn tell(wired: &Wired) {
    if !wired.herald.is_wanted() && wired.settings.textfile.is_none() {
        return;
    }
    if wired.herald.is_free() {
        let Some(found) = wired.agent.clock.timeout(LOOKING_MOST, wired.look_at_watches()).await else {
            // Without it what is wrong there would be told as over. The heartbeat is left out, too.
            wired.write_metrics().await;
            print::note(&format!(
                "nolapse: alerts: looking at what is watched took longer than {LOOKING_MOST}, so nobody is told \
                 of anything by this run; fewer endpoints, or a shorter timeout in [watch.NAME]"
            ));
            return;
        };
        publish::publish_watched(wired, found).await;
    }
    let told = match wired.census().await {
        Ok(census) => {
            let scene = wired.agent.scene();
            let work = wired.herald.once(&census, &scene);
            wired.agent.clock.timeout(TELLING_MOST, work).await.unwrap_or_else(|| {
                let words = format!("it took longer than {TELLING_MOST}; the next run sends what is left");
                Err(Failure::transient(Fault::Network, "alert-timeout", words))
            })
        }
        Err(failure) => Err(failure),
    };
    wired.write_metrics().await;
    match told {
        // A daemon sends, or another process just now.
        Ok(_) => {}
        Err(failure) => print::note(&format!("nolapse: alerts: {failure}")),
    }
}

/// Longest time that the end of a process looks at what is watched.
const LOOKING_MOST: crate::core::time::Span = crate::core::time::Span::minutes(2);
/// Longest time that the end of a process waits for channels.
const TELLING_MOST: crate::core::time::Span = crate::core::time::Span::minutes(3);
