//! Holding a lineage on what was judged of it before, while all that it was judged from is as it
//! was. What is asked, and why that is enough, is in `docs/decisions/0015-what-holds-is-remembered.md`.

use std::hash::Hash;
use std::sync::Arc;

use crate::agent::gather::{Owners, World};
use crate::agent::seen::{Look, Told};
use crate::agent::{Agent, Scene, Survey};
use crate::codec::seen::Judged;
use crate::core::census::Row;
use crate::core::decide::Request;
use crate::core::failure::Failure;
use crate::core::form::Form;
use crate::core::ladder::Ladder;
use crate::core::memo::Memo;
use crate::core::name::LineageId;
use crate::core::spec::{LineageSpec, Part};
use crate::core::time::Timestamp;
use crate::ports::Key;
use crate::sys::disk::FileKind;

/// A lineage that was held without reading anything: there is nothing to say of it.
pub struct Held {
    pub id: LineageId,
    pub at: Timestamp,
    scene: Arc<Scene>,
    pub memo: Memo,
}

/// How a lineage stands, by whichever way that was found out.
#[derive(Debug)]
pub enum View {
    Read(Box<Survey>),
    Held(Box<Held>),
}

/// What a lineage was judged from, as far as it lies in files: asked before they were read.
pub struct Inputs {
    pub told: Told,
    pub asked: Timestamp,
    pub look: Look,
}

impl Agent {
    /// From now on what was seen and judged before is believed where it may be; for looks over many
    /// lineages.
    pub fn believe(&self) -> super::seen::Belief<'_> {
        self.seen.believe()
    }

    /// As [`Agent::survey`], without reading anything where nothing was touched.
    pub async fn view(&self, id: &LineageId) -> Result<View, Failure> {
        match self.recall(&self.scene(), id) {
            Some(held) => Ok(View::Held(Box::new(held))),
            None => self.survey(id).await.map(|survey| View::Read(Box::new(survey))),
        }
    }

    /// `None` where it has to be judged in full.
    pub(super) fn recall(&self, scene: &Arc<Scene>, id: &LineageId) -> Option<Held> {
        let at = self.clock.now();
        let spec = scene.wanted.lineages.get(id)?;
        let Judged { print, at: judged_at, memo } = self.seen.mark(&self.disk, id, at)?.judged?;
        if at < judged_at || at >= memo.until {
            return None;
        }
        let mut told = self.told_of_entries(id)?;
        self.told_of_outputs(&mut told, spec)?;
        let dir = scene.live_dir.join(id.as_str());
        told.live(&self.disk, &dir, memo.generation, Part::ALL.into_iter(), |_, _| true)?;
        self.told_of_spec(&mut told, spec);
        (told.print() == print).then(|| Held { id: spec.id.clone(), at, scene: scene.clone(), memo })
    }

    /// Keeps what was found, if that was nothing to speak of.
    pub(super) fn remember(&self, spec: Option<&LineageSpec>, world: &World, row: &Row, ladder: &Ladder) {
        let (Some(spec), Some(inputs)) = (spec, &world.inputs) else { return };
        let whole = |memo: &Memo| {
            let issued = world.record.value.issued(memo.generation);
            issued.is_some_and(|issued| issued.digests.len() == Part::ALL.len())
        };
        let request = Request::default();
        // It has to say what was just found, or it is none.
        let Some(memo) = Memo::of(&world.situation(Some(spec), &request, inputs.asked))
            .filter(|memo| whole(memo) && memo.row(spec) == *row && memo.ladder() == *ladder)
        else {
            return;
        };
        let mut told = inputs.told.clone();
        if told.is_settled(inputs.asked) {
            self.told_of_spec(&mut told, spec);
            let judged = Judged { print: told.print(), at: inputs.asked, memo };
            self.seen.keep_judged(&spec.id, &inputs.look, judged);
        }
    }

    /// What the store says of record and note.
    pub(super) fn told_of_entries(&self, id: &LineageId) -> Option<Told> {
        let mut told = Told::default();
        told.glance(&self.store.glance(&Key::Lineage(id.clone()))?);
        told.glance(&self.store.glance(&Key::Installed(id.clone()))?);
        Some(told)
    }

    pub(super) fn told_of_outputs(&self, told: &mut Told, spec: &LineageSpec) -> Option<()> {
        for output in &*spec.outputs {
            // Whether it opens hangs on a password that is kept elsewhere and may have changed.
            if matches!(output.form, Form::Pkcs12 { .. }) {
                return None;
            }
            // A link says nothing of what it leads to.
            told.ask(&self.disk, output.path.as_ref()).filter(|stat| stat.kind == FileKind::File)?;
        }
        Some(())
    }

    /// The rules and the entry that it was judged by.
    fn told_of_spec(&self, told: &mut Told, spec: &LineageSpec) {
        env!("CARGO_PKG_VERSION").hash(told);
        spec.hash(told);
        let rights = std::iter::once(&spec.rights).chain(spec.outputs.iter().map(|output| &output.rights));
        for rights in rights {
            Owners::of(&self.disk, rights).hash(told);
        }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("id", &self.id).field("memo", &self.memo).finish_non_exhaustive()
    }
}

impl Held {
    pub fn spec(&self) -> Option<&LineageSpec> {
        self.scene.wanted.lineages.get(&self.id)
    }
}

impl View {
    pub fn row(&self) -> Option<Row> {
        match self {
            Self::Read(survey) => Some(survey.row.clone()),
            Self::Held(held) => held.spec().map(|spec| held.memo.row(spec)),
        }
    }
}
