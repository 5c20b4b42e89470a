//! Generated from `sdk/wit/v1`. One module per world, because a component must export all of a world,
//! and a plugin exports only the hooks that it serves.

pub mod powers {
    //! The imports, and the types that all hooks share.
    wit_bindgen::generate!({
        path: "../wit/v1",
        world: "powers",
        generate_all,
        additional_derives: [PartialEq, Eq],
    });
}

pub mod lifecycle {
    //! The export `lifecycle`.
    wit_bindgen::generate!({
        path: "../wit/v1",
        world: "lifecycle-plugin",
        with: {
            "cordboard:plugin/types@0.1.0": crate::bindings::powers::cordboard::plugin::types,
            "cordboard:plugin/log@0.1.0": crate::bindings::powers::cordboard::plugin::log,
            "cordboard:plugin/kv@0.1.0": crate::bindings::powers::cordboard::plugin::kv,
            "cordboard:plugin/config@0.1.0": crate::bindings::powers::cordboard::plugin::config,
            "cordboard:plugin/time@0.1.0": crate::bindings::powers::cordboard::plugin::time,
            "cordboard:plugin/audience@0.1.0": crate::bindings::powers::cordboard::plugin::audience,
        },
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
        default_bindings_module: "cordboard_sdk::bindings::lifecycle",
    });
}

pub mod conference_policy {
    //! The export `conference-policy`.
    wit_bindgen::generate!({
        path: "../wit/v1",
        world: "conference-policy-plugin",
        with: {
            "cordboard:plugin/types@0.1.0": crate::bindings::powers::cordboard::plugin::types,
            "cordboard:plugin/log@0.1.0": crate::bindings::powers::cordboard::plugin::log,
            "cordboard:plugin/kv@0.1.0": crate::bindings::powers::cordboard::plugin::kv,
            "cordboard:plugin/config@0.1.0": crate::bindings::powers::cordboard::plugin::config,
            "cordboard:plugin/time@0.1.0": crate::bindings::powers::cordboard::plugin::time,
            "cordboard:plugin/audience@0.1.0": crate::bindings::powers::cordboard::plugin::audience,
        },
        pub_export_macro: true,
        export_macro_name: "export_conference_policy",
        default_bindings_module: "cordboard_sdk::bindings::conference_policy",
        additional_derives: [PartialEq, Eq],
    });
}

pub mod message_filter {
    //! The export `message-filter`.
    wit_bindgen::generate!({
        path: "../wit/v1",
        world: "message-filter-plugin",
        with: {
            "cordboard:plugin/types@0.1.0": crate::bindings::powers::cordboard::plugin::types,
            "cordboard:plugin/log@0.1.0": crate::bindings::powers::cordboard::plugin::log,
            "cordboard:plugin/kv@0.1.0": crate::bindings::powers::cordboard::plugin::kv,
            "cordboard:plugin/config@0.1.0": crate::bindings::powers::cordboard::plugin::config,
            "cordboard:plugin/time@0.1.0": crate::bindings::powers::cordboard::plugin::time,
            "cordboard:plugin/audience@0.1.0": crate::bindings::powers::cordboard::plugin::audience,
        },
        pub_export_macro: true,
        export_macro_name: "export_message_filter",
        default_bindings_module: "cordboard_sdk::bindings::message_filter",
        additional_derives: [PartialEq, Eq],
    });
}

pub mod call_router {
    //! The export `call-router`.
    wit_bindgen::generate!({
        path: "../wit/v1",
        world: "call-router-plugin",
        with: {
            "cordboard:plugin/types@0.1.0": crate::bindings::powers::cordboard::plugin::types,
            "cordboard:plugin/log@0.1.0": crate::bindings::powers::cordboard::plugin::log,
            "cordboard:plugin/kv@0.1.0": crate::bindings::powers::cordboard::plugin::kv,
            "cordboard:plugin/config@0.1.0": crate::bindings::powers::cordboard::plugin::config,
            "cordboard:plugin/time@0.1.0": crate::bindings::powers::cordboard::plugin::time,
            "cordboard:plugin/audience@0.1.0": crate::bindings::powers::cordboard::plugin::audience,
        },
        pub_export_macro: true,
        export_macro_name: "export_call_router",
        default_bindings_module: "cordboard_sdk::bindings::call_router",
        additional_derives: [PartialEq, Eq],
    });
}
