//! The API as a micro service of NATS, used by a client in another language.

use super::changes::World;
use super::python;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_in_python_discovers_the_service_and_uses_it() {
    let world = World::start().await;
    let service = "\n[api.service]\nprefix = \"modules\"\nscopes = [\"*:*\"]\n";
    let runtime = world.env.run(&(world.config() + service)).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/api/service.py");
    let mut client = Command::new(python::program("python"));
    let url = world.env.nats.url();
    python::run(client.arg(script).arg(url)).await;
    assert!(runtime.drain().await.drained);
}
