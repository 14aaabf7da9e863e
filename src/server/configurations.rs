//! Configurations in use, for an engine that has lost its connection and made a new one, which it does not configure
//! again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tonic::Status;

use super::connection::Instance;
use super::forward::Settings;
use crate::client::Client;

/// The configurations of the commands that are under way in this process.
#[derive(Default)]
pub(super) struct Configurations(Mutex<Vec<Configured>>);

/// A configuration, and which instances it was given to.
struct Configured {
    arguments: Option<prost_types::Struct>,
    client: Client,
    /// What the official plugin is to be told.
    official: Settings,
    instances: Vec<Weak<Instance>>,
}

/// How many are kept before those of engines that have gone without a word are dropped.
const MOST: usize = 16;

impl Configurations {
    /// The client of an instance. One that was not configured joins the only configuration in use.
    pub(super) fn client(&self, instance: &Arc<Instance>) -> Result<Client, Status> {
        if let Some(client) = instance.client() {
            return Ok(client);
        }
        match self.lock().as_mut_slice() {
            [one] => {
                instance.official.go_on_with(&one.official);
                instance.configure(one.client.clone());
                one.add(instance);
                Ok(one.client.clone())
            }
            [] => Err(Status::failed_precondition(
                "the provider has not been configured: Configure was not called",
            )),
            _ => Err(Status::failed_precondition(
                "this connection has not been configured, and the process serves several providers: run the command again",
            )),
        }
    }

    /// Notes that an instance has been configured.
    pub(super) fn remember(
        &self,
        instance: &Arc<Instance>,
        arguments: Option<prost_types::Struct>,
        client: Client,
    ) {
        self.forget(instance);
        instance.configure(client.clone());
        let official = instance.official.settings();
        let mut configured = self.lock();
        if configured.len() >= MOST {
            configured.retain(|entry| entry.instances.iter().any(|known| known.strong_count() > 0));
        }
        match configured.iter_mut().find(|entry| entry.arguments == arguments) {
            Some(entry) => {
                (entry.client, entry.official) = (client, official);
                entry.add(instance);
            }
            None => {
                let instances = vec![Arc::downgrade(instance)];
                configured.push(Configured { arguments, client, official, instances });
            }
        }
    }

    /// Notes that the command of an instance has ended: nobody goes on with it over another connection.
    pub(super) fn forget(&self, instance: &Arc<Instance>) {
        let mut configured = self.lock();
        for entry in configured.iter_mut() {
            entry.instances.retain(|known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(instance)));
        }
        configured.retain(|entry| !entry.instances.is_empty());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Configured>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Configured {
    /// Adds an instance; those that went without a word no longer count.
    fn add(&mut self, instance: &Arc<Instance>) {
        self.instances.retain(|known| known.strong_count() > 0);
        self.instances.push(Arc::downgrade(instance));
    }
}
