//! What a process that uses the catalog pays: in a binary of its own, because the tables are shared by all of a process.

use engenho_catalog::discovery::{self, AggregatedRoot, AggregatedVersion};
use engenho_catalog::schema::definitions;
use engenho_catalog::{Catalog, openapi};

/// One test, so that nothing else in the process parses definitions meanwhile.
#[test]
fn work_is_done_when_it_is_asked_for() {
    let catalog = Catalog::builtin();
    for version in [AggregatedVersion::V2, AggregatedVersion::V2Beta1] {
        discovery::aggregated(catalog, AggregatedRoot::Groups, version);
    }
    let parsed = || definitions::builtin().parsed();
    assert_eq!(parsed(), 0, "discovery parses no schema");

    let containers = catalog
        .schema("", "v1", "Pod")
        .and_then(|pod| pod.property("spec")?.property("containers"));
    assert!(containers.is_some());
    assert_eq!(parsed(), 2, "a walk parses the definitions on its way");

    let hashes = openapi::paths(catalog).into_iter().map(|path| {
        let hash = openapi::hash(&openapi::document(catalog, &path).expect("a document"));
        (path, hash)
    });
    let index = openapi::index(hashes);
    let swagger = openapi::swagger(catalog);
    assert_eq!(parsed(), definitions::builtin().len());
    assert!(
        index.len() < 16 << 10 && swagger.len() < 4 << 20,
        "{} and {} bytes",
        index.len(),
        swagger.len()
    );
    let sizes = openapi::paths(catalog)
        .into_iter()
        .filter_map(|path| Some(openapi::document(catalog, &path)?.len()));
    assert!(sizes.max() < Some(2 << 20));
}
