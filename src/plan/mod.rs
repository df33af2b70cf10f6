//! Pure: (Project, Graph, ObservedState, options) to a DAG of actions, each with its cause.
