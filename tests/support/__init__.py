"""What tests run against: real registries, hostile servers, made images."""
