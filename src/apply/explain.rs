//! Asks the engine for what a plan's explanation needs; what it cannot say stays unexplained.

use futures_util::future::join_all;

use crate::engine::Engine;
use crate::plan::explain::{Answers, Defaults, Mentioned, Questions};

/// Inspects the objects in question, all at once.
pub async fn answers(engine: &dyn Engine, questions: &Questions) -> Answers {
    let containers = join_all(questions.containers.iter().map(async |id| {
        let container = engine.inspect_container(id).await.ok()?;
        let image = match &container.image {
            Some(image) => engine.inspect_image(image).await.ok().flatten(),
            None => None,
        };
        Some((id.clone(), (container, image)))
    }));
    let networks = join_all(questions.networks.iter().map(async |name| {
        let network = engine.inspect_network(name).await.ok()?;
        Some((name.clone(), network))
    }));
    let volumes = join_all(questions.volumes.iter().map(async |name| {
        let volume = engine.inspect_volume(name).await.ok()?;
        Some((name.clone(), volume))
    }));
    let defaults = async {
        if questions.containers.is_empty() {
            return Defaults::default();
        }
        match engine.system_info().await {
            Ok(info) => Defaults::new(&engine.info().product, &info),
            Err(_) => Defaults::default(),
        }
    };
    let (containers, networks, volumes, defaults) =
        futures_util::join!(containers, networks, volumes, defaults);
    Answers {
        containers: containers.into_iter().flatten().collect(),
        networks: networks.into_iter().flatten().collect(),
        volumes: volumes.into_iter().flatten().collect(),
        defaults,
        mentioned: Mentioned::default(),
    }
}
