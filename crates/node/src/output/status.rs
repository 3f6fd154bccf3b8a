//! The status of a cluster as a table, as the promised JSON, and as the lines that tell what changed.

use revoada::member::{MemberStatus, Status, TransitionStatus};
use revoada_core::MemberId;
use serde_json::{Value, json};

use super::text::{bytes, clean, duration, plural, rfc3339, table};
use crate::admin::api::FullStatus;

/// The JSON form: as serialized, but with times in RFC 3339.
pub fn status_json(status: &FullStatus) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(status)?;
    let transitions = value.get_mut("transitions").and_then(Value::as_array_mut);
    for transition in transitions.into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(since) = transition.remove("sinceMs") {
            let text = since.as_u64().map_or(Value::Null, |since| json!(rfc3339(since)));
            transition.insert("since".to_owned(), text);
        }
    }
    Ok(value)
}

/// The form for people; `now_ms` is the present, milliseconds since the Unix epoch.
pub fn status_table(status: &FullStatus, wide: bool, now_ms: u64) -> String {
    let cluster = &status.cluster;
    let mut lines = vec![
        head(
            "Cluster",
            &format!(
                "{}, epoch {}, term {}",
                cluster.cluster_id.short(),
                cluster.epoch,
                cluster.term
            ),
        ),
        head(
            "Leader",
            &format!(
                "{}, quorum {}",
                leader_name(cluster),
                if cluster.quorum { "yes" } else { "no" }
            ),
        ),
        head(
            "Formation",
            &format!(
                "{}, {}",
                plural(cluster.formation.voters, "voter"),
                plural(cluster.formation.standbys, "standby")
            ),
        ),
        head(
            "Chain",
            &format!(
                "{}, {} sealed, head {}",
                plural(cluster.chain.height as usize, "block"),
                cluster.chain.sealed,
                cluster.chain.head.short()
            ),
        ),
    ];
    if status.replica {
        let store = &status.store;
        lines.push(head(
            "Store",
            &format!(
                "revision {}, {} keys, {}",
                store.revision,
                store.keys,
                bytes(store.bytes)
            ),
        ));
    }
    for transition in &cluster.transitions {
        let age = duration(now_ms.saturating_sub(transition.since_ms));
        lines.push(head(
            "Transition",
            &format!("{}, for {age}", transition_words(cluster, transition)),
        ));
    }
    if !cluster.quorum {
        let missing = match status.missing.is_empty() {
            true => "no leader is known".to_owned(),
            false => format!("not heard of: {}", status.missing.join(", ")),
        };
        lines.push(head(
            "Problem",
            &format!("no quorum, so nothing can be written; {missing}"),
        ));
    }
    if let Some(reason) = &status.halted {
        lines.push(head("Problem", &format!("this member is halted: {}", clean(reason))));
    }
    let mut header = vec!["NAME", "ID", "ROLE", "STATE", "API", "READY", "LAG", "ZONE", "VERSION"];
    if wide {
        header.extend(["APPLIED", "HOLD", "ADDRESSES", "FULL ID"]);
    }
    let rows = cluster
        .members
        .iter()
        .map(|member| row(cluster, member, wide))
        .collect();
    format!("{}\n\n{}\n", lines.join("\n"), table(&header, rows))
}

fn head(title: &str, text: &str) -> String {
    format!("{title:<12}{text}")
}

fn row(cluster: &Status, member: &MemberStatus, wide: bool) -> Vec<String> {
    let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let leads = cluster.leader == Some(member.id);
    let mut row = vec![
        format!("{}{}", clean(&member.name), if member.is_self { "*" } else { "" }),
        member.id.short(),
        format!("{}{}", member.role, if leads { " (leader)" } else { "" }),
        clean(&member.state),
        dash(clean(&member.api)),
        if member.api_ready { "yes" } else { "no" }.to_owned(),
        match member.role.is_replica() {
            true => member.lag.to_string(),
            false => "-".to_owned(),
        },
        dash(clean(&member.zone)),
        dash(clean(&member.version)),
    ];
    if wide {
        let addresses: Vec<_> = member.addresses.iter().map(ToString::to_string).collect();
        row.extend([
            member.applied_index.to_string(),
            dash(member.hold.clone().unwrap_or_default()),
            dash(addresses.join(",")),
            member.id.to_string(),
        ]);
    }
    row
}

fn name_of(cluster: &Status, id: &MemberId) -> String {
    let member = cluster.members.iter().find(|member| member.id == *id);
    member.map_or_else(|| id.short(), |member| clean(&member.name))
}

fn leader_name(cluster: &Status) -> String {
    cluster
        .leader
        .map_or_else(|| "none known".to_owned(), |id| name_of(cluster, &id))
}

fn transition_words(cluster: &Status, transition: &TransitionStatus) -> String {
    format!(
        "{}: {} -> {}, {} ({})",
        name_of(cluster, &transition.member),
        transition.from,
        transition.to,
        transition.phase,
        clean(&transition.reason)
    )
}

/// What is different, a line each. Counters that always move are left out.
pub fn changes(before: &FullStatus, after: &FullStatus) -> Vec<String> {
    let mut lines = Vec::new();
    let (old, new) = (&before.cluster, &after.cluster);
    if old.epoch != new.epoch {
        lines.push(format!("epoch {}: the cluster was recovered", new.epoch));
    }
    if old.quorum != new.quorum {
        lines.push(match new.quorum {
            true => "there is a quorum again".to_owned(),
            false if after.missing.is_empty() => "there is no quorum".to_owned(),
            false => format!("there is no quorum; not heard of: {}", after.missing.join(", ")),
        });
    }
    if old.leader != new.leader {
        lines.push(match new.leader {
            Some(id) => format!("{} leads in term {}", name_of(new, &id), new.term),
            None => "there is no leader".to_owned(),
        });
    }
    for member in &new.members {
        match old.members.iter().find(|was| was.id == member.id) {
            Some(was) => member_changes(was, member, &mut lines),
            None => lines.push(format!("{} is admitted as {}", clean(&member.name), member.role)),
        }
    }
    for gone in old
        .members
        .iter()
        .filter(|was| new.members.iter().all(|member| member.id != was.id))
    {
        lines.push(format!("{} is no longer a member", clean(&gone.name)));
    }
    for transition in &new.transitions {
        let same = |was: &&TransitionStatus| {
            (was.member, was.to, &was.phase) == (transition.member, transition.to, &transition.phase)
        };
        if !old.transitions.iter().any(|was| same(&was)) {
            lines.push(transition_words(new, transition));
        }
    }
    if before.halted != after.halted
        && let Some(reason) = &after.halted
    {
        lines.push(format!("this member is halted: {}", clean(reason)));
    }
    lines
}

fn member_changes(was: &MemberStatus, member: &MemberStatus, lines: &mut Vec<String>) {
    let name = clean(&member.name);
    if was.role != member.role {
        lines.push(format!("{name} is a {} now, was a {}", member.role, was.role));
    }
    if was.state != member.state {
        lines.push(format!("{name} is {}", clean(&member.state)));
    }
    if was.api_ready != member.api_ready {
        lines.push(match member.api_ready {
            true => format!("{name} answers on {}", clean(&member.api)),
            false => format!("{name} does not answer on {}", clean(&member.api)),
        });
    }
    if was.hold != member.hold {
        lines.push(match &member.hold {
            Some(hold) => format!("{name} is held as {}", clean(hold)),
            None => format!("{name} is released"),
        });
    }
}

#[cfg(test)]
pub mod tests {
    use revoada::member::{ChainStatus, FormationStatus};
    use revoada_core::{ClusterId, Hash32, Role};

    use super::*;
    use crate::admin::api::StoreStatus;

    fn member(n: u8, role: Role) -> MemberStatus {
        MemberStatus {
            id: MemberId([n; 32]),
            name: format!("n{n}"),
            is_self: n == 1,
            role,
            state: "alive".into(),
            addresses: vec![([127, 0, 0, 1], 7440 + u16::from(n)).into()],
            zone: if n == 1 { "a".into() } else { String::new() },
            api: format!("https://127.0.0.1:644{n}"),
            api_ready: n != 3,
            applied_index: 812,
            lag: u64::from(n) - 1,
            version: "0.1.0".into(),
            hold: None,
        }
    }

    pub fn status() -> FullStatus {
        FullStatus {
            cluster: Status {
                cluster_id: ClusterId([0xc1; 32]),
                epoch: 1,
                term: 4,
                leader: Some(MemberId([2; 32])),
                quorum: true,
                formation: FormationStatus { voters: 3, standbys: 1 },
                members: vec![member(1, Role::Voter), member(2, Role::Voter), member(3, Role::Worker)],
                transitions: vec![TransitionStatus {
                    member: MemberId([3; 32]),
                    from: Role::Worker,
                    to: Role::Voter,
                    phase: "Learning".into(),
                    reason: "too few voters".into(),
                    since_ms: 1_760_000_000_000,
                }],
                chain: ChainStatus {
                    height: 9,
                    head: Hash32([0xab; 32]),
                    sealed: 8,
                },
            },
            store: StoreStatus {
                revision: 1200,
                keys: 310,
                bytes: 412_345,
            },
            replica: true,
            missing: vec![],
            halted: None,
        }
    }

    #[test]
    fn the_table() {
        let want = "\
Cluster     c1c1c1c1c1, epoch 1, term 4
Leader      n2, quorum yes
Formation   3 voters, 1 standby
Chain       9 blocks, 8 sealed, head ababababab
Store       revision 1200, 310 keys, 402.6 KiB
Transition  n3: worker -> voter, Learning (too few voters), for 12 s

NAME  ID          ROLE            STATE  API                     READY  LAG  ZONE  VERSION
n1*   0101010101  voter           alive  https://127.0.0.1:6441  yes    0    a     0.1.0
n2    0202020202  voter (leader)  alive  https://127.0.0.1:6442  yes    1    -     0.1.0
n3    0303030303  worker          alive  https://127.0.0.1:6443  no     -    -     0.1.0
";
        assert_eq!(status_table(&status(), false, 1_760_000_012_345), want);
        let wide = status_table(&status(), true, 0);
        assert!(wide.contains("ADDRESSES") && wide.contains("127.0.0.1:7441") && wide.contains(&"03".repeat(32)));
    }

    #[test]
    fn trouble_is_said() {
        let mut status = status();
        status.cluster.quorum = false;
        status.cluster.leader = None;
        status.missing = vec!["n2".into(), "n3".into()];
        status.halted = Some("split\u{1b} brain".into());
        let text = status_table(&status, false, 0);
        assert!(text.contains("Leader      none known, quorum no\n"));
        assert!(text.contains("Problem     no quorum, so nothing can be written; not heard of: n2, n3\n"));
        assert!(text.contains("Problem     this member is halted: split  brain\n"));
    }

    #[test]
    fn the_json_is_as_promised() {
        let value = status_json(&status()).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        for key in [
            "clusterId",
            "epoch",
            "term",
            "leader",
            "quorum",
            "formation",
            "members",
            "transitions",
            "chain",
            "store",
        ] {
            assert!(keys(&value).contains(&key.to_owned()), "{key}");
        }
        let member = &value["members"][0];
        for key in [
            "id",
            "name",
            "self",
            "role",
            "state",
            "addresses",
            "zone",
            "api",
            "apiReady",
            "appliedIndex",
            "lag",
            "version",
        ] {
            assert!(keys(member).contains(&key.to_owned()), "{key}");
        }
        assert_eq!(value["leader"], json!("02".repeat(32)));
        assert_eq!(value["transitions"][0]["since"], json!("2025-10-09T08:53:20Z"));
        assert!(value["transitions"][0].get("sinceMs").is_none());
        assert_eq!(
            value["chain"],
            json!({"height": 9, "head": "ab".repeat(32), "sealed": 8})
        );
        assert_eq!(value["store"], json!({"revision": 1200, "keys": 310, "bytes": 412_345}));
        assert_eq!(value["formation"], json!({"voters": 3, "standbys": 1}));
        let mut alone = status();
        alone.cluster.leader = None;
        assert_eq!(status_json(&alone).unwrap()["leader"], Value::Null);
    }

    #[test]
    fn changes_are_lines() {
        let before = status();
        assert_eq!(changes(&before, &before), Vec::<String>::new());
        let mut after = before.clone();
        after.cluster.members[2].role = Role::Voter;
        after.cluster.members[2].api_ready = true;
        after.cluster.members[1].state = "dead".into();
        after.cluster.leader = Some(MemberId([1; 32]));
        after.cluster.term = 5;
        after.cluster.transitions[0].phase = "Joint".into();
        after.cluster.members.push(member(4, Role::Worker));
        after.cluster.members[0].applied_index += 9;
        assert_eq!(
            changes(&before, &after),
            [
                "n1 leads in term 5",
                "n2 is dead",
                "n3 is a voter now, was a worker",
                "n3 answers on https://127.0.0.1:6443",
                "n4 is admitted as worker",
                "n3: worker -> voter, Joint (too few voters)",
            ]
        );
        assert_eq!(
            changes(&after, &before).last().map(String::as_str),
            Some("n3: worker -> voter, Learning (too few voters)")
        );
        assert!(changes(&after, &before).contains(&"n4 is no longer a member".to_owned()));
    }
}
