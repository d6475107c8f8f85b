#include "compare.hpp"

#include <algorithm>

namespace {

void store_if_new(Snapshot& snapshot, const std::string& name, const kvs::Value& value, Differences& differences) {
    const std::optional<kvs::Value> before = snapshot.value(name);
    if (before == value) {
        ++differences.unchanged;
        return;
    }
    snapshot.set(name, value);
    (before ? differences.changed : differences.appeared).push_back({name, before, value});
}

/// True for what is wrong with one parameter; a full disk, say, concerns them all.
bool is_about_one_parameter(const kvs::Error& error) {
    return error.code() == kvs::errc::key_too_long || error.code() == kvs::errc::value_too_long;
}

void erase_vanished(Snapshot& snapshot, const Reading& reading, Differences& differences) {
    for (const kvs::Entry& entry : snapshot) {
        std::string name(entry.key());
        if (!reading.parameters.contains(name))
            differences.vanished.push_back({std::move(name), entry.value(), std::nullopt});
    }
    for (const Difference& difference : differences.vanished) snapshot.erase(difference.name);
    // A store has no order; the other lists have that of the reading.
    std::ranges::sort(differences.vanished, {}, &Difference::name);
}

}  // namespace

Differences bring_up_to_date(Snapshot& snapshot, const Reading& reading) {
    Differences differences;
    for (const auto& [name, value] : reading.parameters) {
        try {
            store_if_new(snapshot, name, value, differences);
        } catch (const kvs::Error& error) {
            if (!is_about_one_parameter(error)) throw;
            differences.refused.emplace_back(error.what());
        }
    }
    erase_vanished(snapshot, reading, differences);
    return differences;
}
