// Strict YAML into a Schema. The only file that knows yaml-cpp.
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <set>
#include <utility>

#include "core/atomic_file.h"
#include "core/config_schema.h"
#include "core/error.h"

namespace saber {

struct Schema::YamlReader {
  Schema& schema;
  const std::string& path;

  std::string place(const YAML::Node& node) const { return fmt::format("{} line {}", path, node.Mark().line + 1); }

  std::string scalar(const YAML::Node& node, const std::string& key) const {
    if (!node.IsScalar())
      throw_bad_input(fmt::format("{} holds a nested value, wanted a list of texts", key), place(node));
    return node.Scalar();
  }

  void read(const YAML::Node& node, const std::string& key) {
    switch (node.Type()) {
      case YAML::NodeType::Map:
        if (schema.find(key) != nullptr) throw_bad_input(fmt::format("{} is a map, wanted a value", key), place(node));
        return read_map(node, key);
      case YAML::NodeType::Sequence: {
        std::vector<std::string> texts;
        for (const YAML::Node& item : node) texts.push_back(scalar(item, key));
        return schema.set_list(key, std::move(texts), place(node));
      }
      case YAML::NodeType::Scalar:
        return schema.set_scalar(key, node.Scalar(), place(node));
      case YAML::NodeType::Null:
      case YAML::NodeType::Undefined:
        throw_bad_input(fmt::format("{} has no value", key), place(node));
    }
  }

  void read_map(const YAML::Node& node, const std::string& prefix) {
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const std::string name = scalar(entry.first, prefix);
      const std::string key = prefix.empty() ? name : fmt::format("{}.{}", prefix, name);
      if (!seen.insert(name).second) throw_bad_input(fmt::format("{} is given twice", key), place(entry.first));
      if (entry.second.IsNull()) throw_bad_input(fmt::format("{} has no value", key), place(entry.first));
      read(entry.second, key);
    }
  }
};

void Schema::read_yaml(const std::string& path) {
  YAML::Node root;
  try {
    root = YAML::Load(read_file(path));
  } catch (const YAML::Exception& error) {
    throw_bad_input("is not valid YAML: " + error.msg, fmt::format("{} line {}", path, error.mark.line + 1));
  }
  if (root.IsNull()) return;
  if (!root.IsMap()) throw_bad_input("is not a map of settings", path);
  YamlReader{*this, path}.read_map(root, "");
}

}  // namespace saber
