// Package config reads the one YAML file that every shape of wxbus understands.
//
// # Layers
//
// Defaults, then the file, then the environment, then overrides from flags; a later layer wins.
// Maps merge key by key, lists are replaced. Defaults are simply the values in the structs that
// are passed to Load, so a service fills its Config with DefaultConfig() and hands over a pointer.
//
// # Environment
//
// A key is spelled in upper case, with _ between the parts and in place of every character that is
// no letter or digit: gateway.passive_deadline is WXBUS_GATEWAY_PASSIVE_DEADLINE, and
// accounts[0].token is WXBUS_ACCOUNTS_0_TOKEN when the file has an account 0. A list of plain values
// is separated by commas; any list or map can be given as YAML in one variable: WXBUS_ACCOUNTS='[{name: shop, …}]'.
//
// # Strictness
//
// An unknown key is an error that suggests the nearest known one; so is an unknown variable with
// our prefix, except those that Kubernetes makes for services. All errors are reported at once,
// sorted; each starts with its path and ends with its origin:
//
//	accounts[1].encoding_aes_key: must be 43 characters, letters and digits (wxbus.yaml:17)
//	gateway.passive_deadlin: unknown key; did you mean passive_deadline? (wxbus.yaml:4)
//
// Sections of other processes (KnownSections) are skipped, so one file serves them all.
//
// # Config structs
//
// A section is a plain struct with the tags yaml (the key), desc (one sentence for the reference),
// and optionally enum (the allowed values) or, on a map, keys (the allowed keys). Supported are booleans, numbers, strings,
// time.Duration, types with UnmarshalText and MarshalText, Secret, pointers to those, structs, slices
// and maps with string keys. Slice elements whose pointer has SetDefaults() start from it.
//
// Print, Example, Schema and Reference render the same structs for people and editors.
package config
