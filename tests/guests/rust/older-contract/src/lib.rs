//! A plugin for a version of the contract that the host no longer serves.

wit_bindgen::generate!({
    inline: "
        package syncline:plugin@0.0.9;

        interface handler {
            process: func(data: list<u8>) -> list<u8>;
        }

        world plugin {
            export handler;
        }
    ",
});

use exports::syncline::plugin::handler::Guest;

struct Old;

export!(Old);

impl Guest for Old {
    fn process(data: Vec<u8>) -> Vec<u8> {
        data
    }
}
