//! `alpha generate` on the built-in engine: the file that it prints makes the same containers again.

use crate::common::env::TestEnvironment;
use crate::common::{TestResult, has_root};

const COMPOSE: &str = "name: seen
services:
  web:
    image: rootfs:/
    command: [sleep, '1000']
    network_mode: none
    stop_grace_period: 0s
    scale: 2
    environment: { TOKEN: 'a$$b' }
    mem_limit: 64m
    cap_add: [NET_ADMIN]
    volumes: ['./src:/src:ro', 'data:/data']
    labels: { own: 'yes' }
volumes: { data: { name: seen-data } }
";

#[test]
fn what_generate_prints_is_read_as_what_made_the_containers() -> TestResult {
    if !has_root("alpha generate") {
        return Ok(());
    }
    let env = TestEnvironment::new()?;
    std::fs::create_dir(env.path("src"))?;
    std::fs::write(env.path("compose.yaml"), COMPOSE)?;
    let _up = env.run(["up", "-d"])?.success();
    let made = ["alpha", "generate", "--project-dir", ".", "--name", "again"];
    let containers = ["seen-web-1", "seen-web-2"];
    let made = env.run(made.iter().chain(&containers))?.success();
    std::fs::write(env.path("again.yaml"), &made.stdout)?;
    let read = ["-f", "again.yaml", "config", "--format", "json"];
    let read: serde_json::Value = serde_json::from_str(&env.run(read)?.success().stdout)?;
    let web = &read["services"]["web"];
    assert_eq!(read["name"], "again");
    assert_eq!(web["image"], "rootfs:/");
    assert_eq!(web["command"], serde_json::json!(["sleep", "1000"]));
    assert_eq!(web["environment"]["TOKEN"], "a$$b");
    assert_eq!(web["scale"], 2);
    assert_eq!(web["mem_limit"], "67108864");
    assert_eq!(web["cap_add"], serde_json::json!(["CAP_NET_ADMIN"]));
    assert_eq!(web["labels"]["own"], "yes");
    let source = env.path("src").canonicalize()?.display().to_string();
    assert_eq!(web["volumes"][0]["source"], source, "{made}");
    assert_eq!(
        read["volumes"]["data"]["external"],
        serde_json::Value::Null,
        "{made}"
    );
    assert_eq!(read["volumes"]["seen-data"]["external"], true, "{made}");
    let unknown = env.run(["alpha", "generate", "nobody", "nowhere"])?;
    assert_eq!(unknown.status, 1);
    assert!(
        unknown.stderr.contains("following name(s): nobody,nowhere"),
        "{unknown}"
    );
    let _down = env.run(["down", "-v"])?.success();
    Ok(())
}
