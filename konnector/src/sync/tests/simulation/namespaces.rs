//! The namespace mapping as one konnector sees it, and the backend that answers it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::sleep;

use super::super::super::ports::Namespaces;
use super::connection::up_to;
use super::world::World;

pub(super) struct SimNamespaces {
    pub(super) world: World,
    pub(super) konnector: usize,
}

impl Namespaces for SimNamespaces {
    fn is_listed(&self) -> bool {
        true
    }

    fn to_provider(&self, consumer_namespace: &str) -> Option<String> {
        self.world.lock().mapped.get(consumer_namespace).cloned()
    }

    fn to_consumer(&self, provider_namespace: &str) -> Option<String> {
        let sim = self.world.lock();
        let mut mapped = sim.mapped.iter();
        mapped
            .find(|(_, provider)| *provider == provider_namespace)
            .map(|(consumer, _)| consumer.clone())
    }

    fn request(&self, consumer_namespace: &str) {
        let mut sim = self.world.lock();
        let mapped = sim.mapped.contains_key(consumer_namespace);
        if mapped || sim.asked.contains(consumer_namespace) || !sim.goes_on(self.konnector) {
            return;
        }
        sim.asked.insert(consumer_namespace.to_owned());
        let longest = if sim.chance(0.1) { 60_000 } else { 3_000 };
        let wait = up_to(&mut sim, longest);
        drop(sim);
        let (world, namespace) = (Arc::clone(&self.world), consumer_namespace.to_owned());
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the test's own runtime"
        )]
        tokio::spawn(async move {
            sleep(wait).await;
            world.lock().asked.remove(&namespace);
            world.map(&namespace);
        });
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        let generation = watch::Sender::new(0);
        let receiver = generation.subscribe();
        let generations = self.world.generations.lock();
        let mut generations = generations.expect("no code panics while it holds the lock");
        generations.push(generation);
        receiver
    }

    fn provider_namespaces(&self) -> Vec<String> {
        self.world.lock().mapped.values().cloned().collect()
    }
}
