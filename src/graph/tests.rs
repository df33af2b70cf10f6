//! Orders, selections and circles.

use super::{Graph, GraphError, Reach};
use crate::model::{Dependency, Project, Service};

fn project(edges: &[(&str, &[&str])]) -> Project {
    let mut project = Project::default();
    for (name, needs) in edges {
        let mut service = Service {
            name: (*name).to_owned(),
            ..Service::default()
        };
        for need in *needs {
            service
                .depends_on
                .insert((*need).to_owned(), Dependency::default());
        }
        project.services.insert((*name).to_owned(), service);
    }
    project
}

#[test]
fn starts_what_is_needed_first() -> Result<(), GraphError> {
    let graph = Graph::new(&project(&[
        ("web", &["db", "job"]),
        ("job", &["db"]),
        ("db", &[]),
    ]))?;
    assert_eq!(
        graph.start_order().collect::<Vec<_>>(),
        ["db", "job", "web"]
    );
    assert_eq!(graph.stop_order().collect::<Vec<_>>(), ["web", "job", "db"]);
    Ok(())
}

#[test]
fn reports_a_cycle_as_a_path() {
    let cyclic = project(&[("b", &["c"]), ("c", &["a"]), ("a", &["c"]), ("x", &["b"])]);
    let error = Graph::new(&cyclic).err().map(|error| error.to_string());
    assert_eq!(
        error.as_deref(),
        Some("dependency cycle detected: a -> c -> a")
    );
}

#[test]
fn selects_in_both_directions() -> Result<(), GraphError> {
    let graph = Graph::new(&project(&[("web", &["db"]), ("db", &[]), ("other", &[])]))?;
    assert_eq!(
        graph.select(&["web".into()], Reach::Dependencies),
        ["db", "web"]
    );
    assert_eq!(
        graph.select(&["db".into()], Reach::Dependents),
        ["db", "web"]
    );
    assert_eq!(graph.select(&["web".into()], Reach::Named), ["web"]);
    assert_eq!(graph.select(&[], Reach::Named).len(), 3);
    Ok(())
}

#[test]
fn derives_dependencies_from_shared_namespaces() -> Result<(), GraphError> {
    let mut shared = project(&[("a", &[]), ("b", &[])]);
    if let Some(service) = shared.services.get_mut("a") {
        service.network_mode = "service:b".to_owned();
    }
    let graph = Graph::new(&shared)?;
    assert_eq!(graph.start_order().collect::<Vec<_>>(), ["b", "a"]);
    assert!(graph.dependencies("a")[0].1.restart);
    Ok(())
}
