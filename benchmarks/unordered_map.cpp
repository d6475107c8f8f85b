// `std::unordered_map`: no file, nothing kept; the measure of what a look-up in memory costs.
#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "contenders.hpp"
#include "measure.hpp"

namespace kvs_bench {

namespace {

class Map {
public:
    explicit Map(const std::filesystem::path&) {}

    void load(const std::vector<Pair>& pairs) {
        for (const auto& [key, value] : pairs) set(key, value);
    }
    void set(const std::string& key, std::uint64_t value) { map_.insert_or_assign(key, value); }

    class Reader {
    public:
        explicit Reader(const Map& map) : map_(map.map_) {}
        bool get(const std::string& key, std::uint64_t& value) const {
            const auto found = map_.find(key);
            if (found == map_.end()) return false;
            value = found->second;
            return true;
        }

    private:
        const std::unordered_map<std::string, std::uint64_t>& map_;
    };

private:
    std::unordered_map<std::string, std::uint64_t> map_;
};

}  // namespace

void add_unordered_map() {
    add_get<Map>("get_string/unordered_map");
    add_set<Map>("set_string/unordered_map");
    add_load<Map>("load/unordered_map", load_one_by_one<Map>);
}

}  // namespace kvs_bench
