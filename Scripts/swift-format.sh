#!/bin/sh
# swift-format over Sparrow's sources: swift-format.sh lint|format OPTION...
set -eu
cd "$(dirname "$0")/.."
mode=$1
shift
# Toolchains since Swift 6 hold it under both names; some packagings leave the first one out.
if command -v swift-format >/dev/null 2>&1; then
  exec swift-format "$mode" "$@" --recursive --parallel Sources Tests Package.swift
fi
exec swift format "$mode" "$@" --recursive --parallel Sources Tests Package.swift
