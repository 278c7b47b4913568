// Settings, declared once. A component lists its settings in a `declare(Schema&)`; that one list gives parsing of
// YAML and of --set, checking, --help, storing, and the comparison on resume.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace saber {

// What a changed value means for a run that is resumed.
enum class OnResume { may_change, must_match };

class Schema {
 public:
  static constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();

  // Each call sets `target` to the default and registers the key. Ranges are inclusive.
  void integer(std::int64_t& target, std::string key, std::int64_t initial, std::int64_t min, std::int64_t max,
               std::string unit, std::string help, OnResume on_resume = OnResume::may_change);
  void real(double& target, std::string key, double initial, double min, double max, std::string unit, std::string help,
            OnResume on_resume = OnResume::may_change);
  void flag(bool& target, std::string key, bool initial, std::string help, OnResume on_resume = OnResume::may_change);
  void text(std::string& target, std::string key, std::string initial, std::string help,
            OnResume on_resume = OnResume::may_change);
  void choice(std::string& target, std::string key, std::string initial, std::vector<std::string> options,
              std::string help, OnResume on_resume = OnResume::may_change);
  // A list of texts: a YAML sequence, or "a,b" in --set. fits: whether an entry is well formed; `rule` says what is.
  void texts(std::vector<std::string>& target, std::string key, std::vector<std::string> initial, std::string help,
             OnResume on_resume = OnResume::may_change, std::string rule = {},
             std::function<bool(const std::string&)> fits = nullptr);

  // A key of an earlier version: using it is an error that names the key of today.
  void renamed(std::string old_key, std::string key);

  // Reads a YAML file. Unknown or repeated keys, wrong types and values out of range throw bad_input that names file,
  // line, key, what was found and what was wanted.
  void read_yaml(const std::string& path);
  // One "key=value" of the command line.
  void assign(const std::string& key_equals_value);

  // Settings with default, unit and rule, one per paragraph: those that `reads` names, by key, or by a beginning that
  // ends in a dot ("train."); all of them when it is empty.
  std::string help(const std::vector<std::string>& reads = {}) const;
  std::vector<std::string> keys() const;
  // Current values as nested JSON.
  nlohmann::json values() const;
  // Restores what values() gave, for ranks that receive the settings of rank 0 and for stored settings; a key that is
  // absent keeps its value.
  void restore(const nlohmann::json& values);
  // Throws bad_input naming every must_match setting whose value differs from `stored` (a values() of an earlier
  // start).
  void require_match(const nlohmann::json& stored, const std::string& stored_place) const;

 private:
  struct Field {
    std::string key, type, unit, rule, help, initial;
    OnResume on_resume;
    // Parses one scalar; returns what was wanted when the text does not fit, else an empty string.
    std::function<std::string(const std::string&)> parse;
    // Takes a list of scalars, only for `texts`; returns an entry that does not fit, else an empty string.
    std::function<std::string(std::vector<std::string>)> parse_list;
    std::function<nlohmann::json()> value;
    std::function<void(const nlohmann::json&)> restore;
  };

  void add(Field field);
  Field* find(const std::string& key);
  [[noreturn]] void unknown_key(const std::string& key, const std::string& place) const;
  void set_scalar(const std::string& key, const std::string& text, const std::string& place);
  void set_list(const std::string& key, std::vector<std::string> texts, const std::string& place);
  struct YamlReader;

  std::vector<Field> fields_;
  std::map<std::string, std::string> renamed_;  // old key -> key of today
};

}  // namespace saber
