//! A component that greets and handles no event.

wit_bindgen::generate!({
    inline: "
        package acme:greeter@1.0.0;

        interface greeting {
            greet: func(name: string) -> string;
        }

        world greeter {
            export greeting;
        }
    ",
});

use exports::acme::greeter::greeting::Guest;

struct Greeter;

export!(Greeter);

impl Guest for Greeter {
    fn greet(name: String) -> String {
        format!("Hello, {name}")
    }
}
