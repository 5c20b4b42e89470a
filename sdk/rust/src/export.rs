//! The macro that makes a plugin's type the component's exports.

/// Exports a plugin: its type, then the hooks that it serves (`conference_policy`, `message_filter`,
/// `call_router`).
///
/// ```text
/// cordboard_sdk::export!(WordFilter: message_filter);
/// cordboard_sdk::export!(Doorman: conference_policy, message_filter);
/// ```
///
/// Compiled natively, as for the plugin's tests, it only checks that the hooks are implemented.
#[macro_export]
macro_rules! export {
    ($plugin:ty : $($hook:ident),+ $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: ::std::cell::RefCell<::std::option::Option<$plugin>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            /// Asks the instance, which the switch starts before its first question.
            fn with_instance<A>(ask: impl ::std::ops::FnOnce(&mut $plugin) -> A) -> A {
                INSTANCE.with_borrow_mut(|instance| {
                    ask(instance.as_mut().expect("the switch starts a plugin before it asks it"))
                })
            }

            struct Exports;

            impl $crate::bindings::lifecycle::exports::cordboard::plugin::lifecycle::Guest for Exports {
                fn start() -> ::std::result::Result<(), ::std::string::String> {
                    let started = <$plugin as $crate::Plugin>::start($crate::config::read()?)?;
                    INSTANCE.set(::std::option::Option::Some(started));
                    ::std::result::Result::Ok(())
                }
            }
            $crate::bindings::lifecycle::export_lifecycle!(
                Exports with_types_in $crate::bindings::lifecycle
            );
            $($crate::export!(@hook $hook);)+
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            let _ = <$plugin as $crate::Plugin>::start;
            $($crate::export!(@check $hook, $plugin);)+
        };
    };
    (@check conference_policy, $plugin:ty) => {
        let _ = <$plugin as $crate::ConferencePolicy>::join;
    };
    (@check message_filter, $plugin:ty) => {
        let _ = <$plugin as $crate::MessageFilter>::filter;
    };
    (@check call_router, $plugin:ty) => {
        let _ = <$plugin as $crate::CallRouter>::route;
    };
    (@hook conference_policy) => {
        impl $crate::bindings::conference_policy::exports::cordboard::plugin::conference_policy::Guest
            for Exports
        {
            fn join(ask: $crate::JoinAsk) -> $crate::JoinVerdict {
                with_instance(|plugin| $crate::ConferencePolicy::join(plugin, ask))
            }
        }
        $crate::bindings::conference_policy::export_conference_policy!(
            Exports with_types_in $crate::bindings::conference_policy
        );
    };
    (@hook message_filter) => {
        impl $crate::bindings::message_filter::exports::cordboard::plugin::message_filter::Guest for Exports {
            fn filter(message: $crate::Message) -> $crate::MessageVerdict {
                with_instance(|plugin| $crate::MessageFilter::filter(plugin, message))
            }
        }
        $crate::bindings::message_filter::export_message_filter!(
            Exports with_types_in $crate::bindings::message_filter
        );
    };
    (@hook call_router) => {
        impl $crate::bindings::call_router::exports::cordboard::plugin::call_router::Guest for Exports {
            fn route(ask: $crate::RouteAsk) -> $crate::RouteVerdict {
                with_instance(|plugin| $crate::CallRouter::route(plugin, ask))
            }
        }
        $crate::bindings::call_router::export_call_router!(
            Exports with_types_in $crate::bindings::call_router
        );
    };
}
