//! YAML text to [`crate::model::Project`], in phases; every node keeps file, line and column.
