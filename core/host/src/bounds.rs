//! Keeps a plugin's answers within bounds before the engine sees them.

use cordboard_model::hook::conference::{Admission, JoinVerdict};
use cordboard_model::hook::message::{MessageVerdict, Rewrite};
use cordboard_model::hook::route::RouteVerdict;

/// The longest text that ends in a header or in a list of participants, in bytes.
const LINE_BYTES: usize = 256;
/// The longest greeting, in bytes.
const GREETING_BYTES: usize = 4096;
/// The longest body, in bytes.
const BODY_BYTES: usize = 256 << 10;
/// The status that stands for one that is none.
const FORBIDDEN: u16 = 403;

/// A field that is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {what}")]
pub(crate) struct OutOfBounds {
    field: &'static str,
    what: &'static str,
}

/// Checks the answer to a join.
pub(crate) fn join(verdict: JoinVerdict) -> Result<JoinVerdict, OutOfBounds> {
    match verdict {
        JoinVerdict::Admit(admission) => {
            let Admission {
                display_name,
                greeting,
                ..
            } = &admission;
            optional(display_name.as_deref(), |name| line("display-name", name))?;
            optional(greeting.as_deref(), |text| {
                size("greeting", text.len(), GREETING_BYTES)
            })?;
            Ok(JoinVerdict::Admit(admission))
        }
        JoinVerdict::Refuse { code, reason } => {
            line("reason", &reason)?;
            Ok(JoinVerdict::Refuse {
                code: status(code),
                reason,
            })
        }
        JoinVerdict::Failed => Ok(verdict),
    }
}

/// Checks the answer to a message.
pub(crate) fn message(verdict: MessageVerdict) -> Result<MessageVerdict, OutOfBounds> {
    match &verdict {
        MessageVerdict::Pass | MessageVerdict::Drop => {}
        MessageVerdict::Rewrite(Rewrite {
            content_type,
            body,
            display_name,
        }) => {
            optional(content_type.as_deref(), |kind| line("content-type", kind))?;
            optional(display_name.as_deref(), |name| line("display-name", name))?;
            optional(body.as_deref(), |body| size("body", body.len(), BODY_BYTES))?;
        }
        MessageVerdict::Reply { content_type, body } => {
            line("content-type", content_type)?;
            size("body", body.len(), BODY_BYTES)?;
        }
        MessageVerdict::Reject { code, reason } => {
            line("reason", reason)?;
            return Ok(MessageVerdict::Reject {
                code: status(*code),
                reason: reason.clone(),
            });
        }
    }
    Ok(verdict)
}

/// Checks the answer to a call.
pub(crate) fn route(verdict: RouteVerdict) -> Result<RouteVerdict, OutOfBounds> {
    match &verdict {
        RouteVerdict::Pass | RouteVerdict::Failed => {}
        RouteVerdict::Conference(number) => line("conference", number)?,
        RouteVerdict::User(user) => line("user", user)?,
        RouteVerdict::Refuse { code, reason } => {
            line("reason", reason)?;
            return Ok(RouteVerdict::Refuse {
                code: status(*code),
                reason: reason.clone(),
            });
        }
    }
    Ok(verdict)
}

fn optional<T: ?Sized>(
    value: Option<&T>,
    check: impl FnOnce(&T) -> Result<(), OutOfBounds>,
) -> Result<(), OutOfBounds> {
    value.map_or(Ok(()), check)
}

fn size(field: &'static str, bytes: usize, most: usize) -> Result<(), OutOfBounds> {
    if bytes > most {
        Err(OutOfBounds {
            field,
            what: "is too long",
        })
    } else {
        Ok(())
    }
}

/// A text that ends in a header: no control characters, so that it cannot begin another header.
fn line(field: &'static str, text: &str) -> Result<(), OutOfBounds> {
    size(field, text.len(), LINE_BYTES)?;
    if text.chars().any(char::is_control) {
        return Err(OutOfBounds {
            field,
            what: "holds control characters",
        });
    }
    Ok(())
}

fn status(code: u16) -> u16 {
    if (400..700).contains(&code) {
        code
    } else {
        FORBIDDEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_cannot_be_smuggled_in() {
        let smuggled = || "x\r\nVia: y".to_owned();
        let rename = Admission {
            display_name: Some(smuggled()),
            ..Admission::default()
        };
        assert!(join(JoinVerdict::Admit(rename)).is_err());
        assert!(
            join(JoinVerdict::Refuse {
                code: 486,
                reason: smuggled()
            })
            .is_err()
        );
        for verdict in [
            MessageVerdict::Reject {
                code: 403,
                reason: smuggled(),
            },
            MessageVerdict::Reply {
                content_type: smuggled(),
                body: "".into(),
            },
            MessageVerdict::Rewrite(Rewrite {
                content_type: Some(smuggled()),
                ..Rewrite::default()
            }),
            MessageVerdict::Rewrite(Rewrite {
                display_name: Some(smuggled()),
                ..Rewrite::default()
            }),
        ] {
            assert!(message(verdict.clone()).is_err(), "{verdict:?}");
        }
        for verdict in [
            RouteVerdict::Conference(smuggled()),
            RouteVerdict::User(smuggled()),
            RouteVerdict::Refuse {
                code: 403,
                reason: smuggled(),
            },
        ] {
            assert!(route(verdict.clone()).is_err(), "{verdict:?}");
        }
    }

    #[test]
    fn a_code_that_is_no_refusal_becomes_403() {
        for (code, expected) in [(200, 403), (399, 403), (400, 400), (699, 699), (700, 403)] {
            let refused = join(JoinVerdict::Refuse {
                code,
                reason: String::new(),
            });
            assert_eq!(
                refused,
                Ok(JoinVerdict::Refuse {
                    code: expected,
                    reason: String::new()
                })
            );
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let body = |bytes: usize| MessageVerdict::Reply {
            content_type: "a/b".into(),
            body: vec![0; bytes].into(),
        };
        assert!(message(body(BODY_BYTES)).is_ok());
        assert!(message(body(BODY_BYTES + 1)).is_err());
    }
}
