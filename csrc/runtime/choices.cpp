#include "runtime/choices.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include "runtime/caches.hpp"

namespace loopnest {
namespace {

namespace fs = std::filesystem;

// The folder of the user's cache, or an empty path.
fs::path folder() {
    const char* const named = std::getenv("XDG_CACHE_HOME");
    if (named && fs::path(named).is_absolute()) return fs::path(named) / "loopnest";
#if defined(__APPLE__)
    const char* const own = "Library/Caches";
#else
    const char* const own = ".cache";
#endif
    const char* const home = std::getenv("HOME");
    return home && fs::path(home).is_absolute() ? fs::path(home) / own / "loopnest" : fs::path();
}

// One file for each kind of processor, since a home may be shared.
std::string file_name() {
    std::string model = "processor";
    std::ifstream processors("/proc/cpuinfo");
    for (std::string line; std::getline(processors, line);)
        if (line.starts_with("model name")) {
            model = line.substr(line.find(':') + 1);
            break;
        }
    const CacheSizes& sizes = cache_sizes();
    const std::string key = model + ' ' + std::to_string(sizes.l1d) + ' ' + std::to_string(sizes.l2) + ' ' +
                            std::to_string(sizes.l3);
    std::ostringstream name;
    name << "choices-" << std::hex << std::hash<std::string>()(key) << ".txt";
    return name.str();
}

double seconds(const std::function<void()>& call) {
    const auto start = std::chrono::steady_clock::now();
    call();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

// "name answer", a line each. The last line counts.
std::string kept_choice(const std::string& name) {
    const fs::path place = folder();
    std::ifstream lines(place.empty() ? place : place / file_name());
    std::string found;
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with(name + ' ')) found = line.substr(name.size() + 1);
    return found;
}

bool keep_choice(const std::string& name, const std::string& answer) {
    const fs::path place = folder();
    if (place.empty()) return false;
    std::error_code failed;
    fs::create_directories(place, failed);
    std::ofstream lines(place / file_name(), std::ios::app);
    if (!answer.empty()) lines << (name + ' ' + answer + '\n') << std::flush;
    return bool(lines);
}

bool faster(const char* name, bool guess, const std::function<void()>& first, const std::function<void()>& second) try {
    const std::string kept = kept_choice(name);
    if (kept == "0" || kept == "1") return kept == "1";
    if (!keep_choice(name, "")) return guess;  // that it can be kept is known before it is measured
    double best_of_first = std::numeric_limits<double>::infinity(), best_of_second = best_of_first;
    for (int turn = 0; turn < 6; ++turn) {
        best_of_first = std::min(best_of_first, seconds(first));
        best_of_second = std::min(best_of_second, seconds(second));
    }
    const bool answer = best_of_first < best_of_second;
    keep_choice(name, answer ? "1" : "0");
    return answer;
} catch (const std::exception&) {  // no memory, or no such file system: the choice changes no result's bound
    return guess;
}

}  // namespace loopnest
