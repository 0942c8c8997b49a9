//! A self-signed pair that lets a server start before anything was issued. It is never in the
//! record, and the first real generation takes its place.

use crate::agent::{Agent, Scene};
use crate::codec::bundle::Bundle;
use crate::codec::form::Source;
use crate::core::decide::Placement;
use crate::core::event::Event;
use crate::core::failure::{Failure, Fault};
use crate::core::layout::{self, PLACEHOLDER};
use crate::core::name::LineageId;
use crate::core::time::{Interval, Span};
use crate::ports::Claim;

/// How long a placeholder is valid: long enough for a CA outage, short enough to be noticed.
const VALID: Span = Span::days(7);
/// Backdated a little, for clocks that are behind.
const BACKDATED: Span = Span::HOUR;

impl Agent {
    /// Installs a placeholder where nothing usable is shown. `Ok(true)`: one was installed.
    pub async fn placeholder(&self, id: &LineageId, patience: Span) -> Result<bool, Failure> {
        let scene = self.scene();
        let Some(spec) = scene.wanted.lineages.get(id) else { return Ok(false) };
        let Claim::Held(_guard) = self.claim(id, self.clock.now() + patience).await? else {
            return Ok(false);
        };
        let world = self.gather(&scene, id).await?;
        // What is damaged, and nothing of ours can replace, keeps a server from starting, too.
        let hopeless = world.record.value.current.is_none();
        match &world.disk.live {
            Placement::Missing => {}
            Placement::Drifted(_) if hopeless => {}
            _ => return Ok(false),
        }
        let key = self.keys.make(spec.key).await?;
        let now = self.clock.now();
        let chain = key.placeholder(&spec.names, Interval::new(now - BACKDATED, now + VALID))?;
        let bundle = Bundle::made(&chain, &key.pem())
            .map_err(|error| Failure::broken("placeholder-unusable", error.to_string()))?;
        let texts = bundle.render();
        let dir = scene.live_dir.join(id.as_str());
        let mut ops = layout::install(&dir, PLACEHOLDER, &texts, &spec.rights);
        for output in &spec.outputs {
            if self.disk.stat(std::path::Path::new(&output.path)).is_err() {
                ops.extend(self.plan_output(output, &Source::new(&bundle, &texts, spec))?);
            }
        }
        self.disk.run(ops).await.map_err(|error| {
            Failure::transient(
                Fault::Host,
                "install-failed",
                format!("the placeholder could not be written: {error}"),
            )
        })?;
        self.tell(&Event::Installed {
            lineage: id.clone(),
            generation: PLACEHOLDER,
            path: dir.display().to_string(),
            why: "placeholder",
        });
        Ok(true)
    }

    /// Whether a server could start with what lies there: a whole pair. A placeholder counts
    /// where one will do.
    pub async fn usable(&self, id: &LineageId, placeholder_will_do: bool) -> Result<bool, Failure> {
        let scene: &Scene = &self.scene();
        let world = self.gather(scene, id).await?;
        Ok(match world.disk.live {
            Placement::Missing | Placement::Drifted(_) => false,
            Placement::Placeholder(_) => placeholder_will_do,
            Placement::Shows(_) | Placement::Foreign(_) => true,
        })
    }
}
