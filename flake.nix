# Builds the binary with nixpkgs' own Rust: `nix build`, `nix develop`.
#
# The pin in flake.lock (branch nixos-26.05) is a published revision with its published hash. The flake was written on
# a machine without nix and has not been evaluated there: `nix flake check` is the first thing to run on one that has it.
{
  description = "engenho: one binary that makes any set of machines a Kubernetes cluster";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      lib = nixpkgs.lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each = make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      manifest = lib.importTOML ./Cargo.toml;
      wanted = manifest.workspace.package.rust-version;
      engenho =
        pkgs:
        assert lib.assertMsg (lib.versionAtLeast pkgs.rustc.version wanted)
          "engenho needs rustc ${wanted}, the pinned nixpkgs has ${pkgs.rustc.version}: run `nix flake update`";
        pkgs.rustPlatform.buildRustPackage {
          pname = "engenho";
          version = manifest.workspace.package.version;
          src = lib.fileset.toSource {
            root = ./.;
            fileset = lib.fileset.unions [
              ./Cargo.toml
              ./Cargo.lock
              ./crates
              ./proto
              ./sim
              ./xtask
            ];
          };
          cargoLock.lockFile = ./Cargo.lock;
          cargoBuildFlags = [
            "-p"
            "engenho"
          ];
          # Tests start processes that listen on loopback addresses; they run in .ci/run, outside the build sandbox.
          doCheck = false;
          meta = {
            description = "One binary that makes any set of machines a Kubernetes cluster";
            license = lib.licenses.mit;
            mainProgram = "engenho";
            platforms = systems;
          };
        };
    in
    {
      packages = each (pkgs: {
        default = engenho pkgs;
      });
      devShells = each (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ (engenho pkgs) ];
          packages = [
            pkgs.clippy
            pkgs.rustfmt
            pkgs.cargo-deny
            pkgs.cargo-nextest
            pkgs.kubectl
          ];
        };
      });
      formatter = each (pkgs: pkgs.nixfmt-rfc-style);
    };
}
