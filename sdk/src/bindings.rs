//! The contract of `wit/` as Rust: generated, so nothing here is written by hand or edited.
//!
//! Authors meet the records through the crate root (`Effect`, `Manifest`, ..); only the macros name
//! this module.

wit_bindgen::generate!({
    path: "../wit",
    world: "plugin",
    pub_export_macro: true,
    default_bindings_module: "syncline_sdk::bindings",
    runtime_path: "::syncline_sdk::wit_bindgen::rt",
    additional_derives: [PartialEq],
    // So that an operation can be a setting of a plugin.
    additional_type_attributes: {
        "syncline:plugin/types@0.1.0/operation": [
            #[derive(serde::Deserialize)]
            #[serde(rename_all = "lowercase")]
        ],
    },
});
