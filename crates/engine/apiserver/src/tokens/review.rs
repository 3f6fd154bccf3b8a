//! TokenReviews: what a token says, told to who asks.

use serde_json::{Value, json};

use super::{api_audiences, authenticate};
use crate::context::Context;
use crate::reviews::user_info;
use crate::status::Status;

/// The status of a review.
pub(crate) async fn answer(context: &Context, spec: &Value) -> Result<Value, Status> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let asked: Vec<String> = spec["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    let wanted = if asked.is_empty() {
        api_audiences(&context.server).to_vec()
    } else {
        asked
    };
    Ok(match authenticate(&context.server, token, &wanted).await? {
        Ok(accepted) => {
            for warning in accepted.warnings {
                context.warn(warning);
            }
            let mut status = json!({"authenticated": true, "user": user_info(&accepted.identity)});
            if !accepted.audiences.is_empty() {
                status["audiences"] = json!(accepted.audiences);
            }
            status
        }
        Err(refused) => json!({"user": {}, "error": refused.review()}),
    })
}
