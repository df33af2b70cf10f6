//! The published schema is the one that the loader checks with.

use std::{error::Error, fs, path::Path};

use hoist::load;

#[test]
fn the_published_schema_is_the_loaders() -> Result<(), Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/compose.schema.json");
    let schema = load::json_schema();
    if std::env::var_os("HOIST_UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(&file, serde_json::to_string_pretty(&schema)? + "\n")?;
    }
    let published: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    assert!(published == schema, "run with HOIST_UPDATE=1");
    Ok(())
}
