// Package weftapi serves what Docker's API cannot say: the endpoints under
// /weft/v1/ on the engine's socket. Their values are engine/model's, as JSON;
// errors have Docker's form and statuses (engine/dockerapi).
//
// Like dockerapi it declares the backends it needs and owns nothing.
package weftapi
