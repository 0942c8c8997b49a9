//! A node's way to its store: the real directory store on its disk, or a shared store for all but
//! its own notes. Where an agent can die, and where a bug can be planted.

use std::sync::Arc;

use nolapse::core::layout::Content;
use nolapse::core::name::LineageId;
use nolapse::ports::{Claim, Entry, Expect, Glance, Key, Reply, Revision, Shelf, Store, StoreError};
use nolapse::store::DirStore;

use crate::bug::Bug;
use crate::crash::Points;
use crate::shared::SharedStore;

pub struct Keeper {
    pub node: usize,
    pub local: DirStore,
    pub shared: Option<SharedStore>,
    pub points: Arc<Points>,
    pub bug: Option<Bug>,
}

impl Keeper {
    /// The shared store, for what is not this node's own.
    fn beyond(&self, shelf: Shelf) -> Option<&SharedStore> {
        self.shared.as_ref().filter(|_| shelf != Shelf::Installed)
    }
}

impl Store for Keeper {
    fn load<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(async move {
            self.points.pass_store().await;
            let found = match self.beyond(key.shelf()) {
                Some(shared) => shared.load(key).await,
                None => self.local.load(key).await,
            };
            match &self.bug {
                Some(bug) => found.map(|entry| entry.map(|entry| bug.on_load(key, entry))),
                None => found,
            }
        })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expect: Expect,
        content: Content,
    ) -> Reply<'a, Result<Revision, StoreError>> {
        Box::pin(async move {
            self.points.pass_store().await;
            let content = self.bug.as_ref().map_or(content.clone(), |bug| bug.on_save(key, content));
            let done = match self.beyond(key.shelf()) {
                Some(shared) => shared.swap(key, expect, content).await,
                None => self.local.swap(key, expect, content).await,
            };
            self.points.pass_store().await;
            done
        })
    }

    fn list(&self, shelf: Shelf) -> Reply<'_, Result<Vec<Key>, StoreError>> {
        Box::pin(async move {
            self.points.pass_store().await;
            match self.beyond(shelf) {
                Some(shared) => shared.list(shelf).await,
                None => self.local.list(shelf).await,
            }
        })
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.points.pass_store().await;
            let done = match self.beyond(key.shelf()) {
                Some(shared) => shared.remove(key).await,
                None => self.local.remove(key).await,
            };
            self.points.pass_store().await;
            done
        })
    }

    fn claim<'a>(&'a self, id: &'a LineageId) -> Reply<'a, Result<Claim, StoreError>> {
        Box::pin(async move {
            self.points.pass_store().await;
            match &self.shared {
                Some(shared) => shared.claim(id, self.node, &self.points).await,
                None => self.local.claim(id).await,
            }
        })
    }

    fn glance(&self, key: &Key) -> Option<Glance> {
        if self.beyond(key.shelf()).is_none() { self.local.glance(key) } else { None }
    }

    fn writable(&self) -> Reply<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.points.pass_store().await;
            if let Some(shared) = &self.shared {
                shared.writable().await?;
            }
            self.local.writable().await
        })
    }
}
