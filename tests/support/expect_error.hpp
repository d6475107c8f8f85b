// Checks for errors: the code, and what the message names.
#pragma once

#include <initializer_list>
#include <string>
#include <system_error>

#include <kvs/kvs.hpp>

#include "../catch.hpp"

namespace kvs_test {

/// Runs `operation`, which must throw a `kvs::Error` with this code whose message holds every one of `parts`.
template <class Operation>
void expect_error(kvs::errc code, std::initializer_list<std::string> parts, Operation operation) {
    std::string message;
    std::error_code found;
    try {
        operation();
    } catch (const kvs::Error& error) {
        message = error.what();
        found = error.code();
    }
    INFO("message: " << message);
    CHECK(found == kvs::make_error_code(code));
    for (const std::string& part : parts) {
        INFO("wanted in it: " << part);
        CHECK(message.find(part) != std::string::npos);
    }
}

}  // namespace kvs_test
