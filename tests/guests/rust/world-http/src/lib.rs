//! A component of the world `plugin-http`, made of the files in `wit` alone, as those of other
//! languages are. It says nothing of HTTP in its manifest.

wit_bindgen::generate!({
    path: "../../../../wit",
    world: "plugin-http",
    generate_all,
});

use exports::syncline::plugin::handler::Guest;
use syncline::plugin::types::{Context, Incoming, Manifest, Verdict};
use wasi::http::outgoing_handler::handle;
use wasi::http::types::{Fields, OutgoingRequest};

struct Asking;

export!(Asking);

impl Guest for Asking {
    fn describe() -> Manifest {
        Manifest {
            name: "world-http".into(),
            version: "1.0.0".into(),
            description: String::new(),
            accepts: vec![],
            targets: vec![],
            lookups: vec![],
            secrets: vec![],
            capabilities: vec![],
            config_schema: None,
            attributes: vec![],
        }
    }

    fn init(_: Context) -> Result<(), String> {
        Ok(())
    }

    /// The data of the event is the authority; the answer's status is the reason to drop it.
    fn process(incoming: Incoming) -> Verdict {
        let request = OutgoingRequest::new(Fields::new());
        let authority = String::from_utf8_lossy(&incoming.data).into_owned();
        let set = request.set_authority(Some(&authority));
        if set
            .and_then(|()| request.set_path_with_query(Some("/")))
            .is_err()
        {
            return Verdict::Reject("no authority".into());
        }
        let answered = match handle(request, None) {
            Ok(answered) => answered,
            Err(code) => return Verdict::Reject(code.to_string()),
        };
        answered.subscribe().block();
        match answered.get() {
            Some(Ok(Ok(answer))) => Verdict::Drop(answer.status().to_string()),
            Some(Ok(Err(code))) => Verdict::Reject(code.to_string()),
            _ => Verdict::Reject("no answer".into()),
        }
    }
}
